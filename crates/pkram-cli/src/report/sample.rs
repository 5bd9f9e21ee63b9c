//! One report with something of everything, and what becomes of it: files in `golden/`, compared
//! byte by byte. `PKRAM_WRITE_GOLDEN=1` writes them anew.

use super::html::Page;
use super::prometheus::Metrics;
use super::text::{History, Text};
use pkram::arrivals::{Arrivals, Came, HandedOver};
use pkram::handover::Handover;
use pkram::history::{Arrival, Entry, Outcome, Way};
use pkram::picture::{Flow, Kind, Picture, Strip};
use pkram::report::clock::Boot;
use pkram::report::timeline::Timeline;
use pkram::report::{Jump, RegionLine, Report};
use std::collections::BTreeMap;
use std::path::Path;

const WRITE: &str = "PKRAM_WRITE_GOLDEN";
const MADE: &str = "6f1c9f1e-3a52-4c0b-9d1e-0c7f5a1b2c3d";
const OLDER: &str = "0a357e52-292b-424a-b97a-523632fced57";

fn timeline() -> Timeline {
    let micros = |micros: u64| 1_000_000 + micros;
    let record = Handover {
        tsc_hz: 1_000_000,
        stopped_tsc: micros(0),
        start_tsc: micros(1_204_000),
        held_tsc: micros(1_391_300),
        composed_tsc: micros(1_522_800),
        loaded_tsc: micros(1_541_000),
        look_tsc: micros(2_030_400),
        jump_tsc: micros(2_068_100),
        mover: [2_391_700, 2_391_904, 2_404_310, 2_404_702, 2_418_950].map(micros),
        ..Handover::default()
    };
    let boot = Boot {
        zero: Some(micros(2_650_000)),
        init: Some(1.912),
        user_space: Some(3.377),
        finished: Some(9.802),
    };
    Timeline::measure(&record, &boot, Some(4.641))
}

fn strip(start: u64, len: u64, kind: Kind, kept: [u64; 3]) -> Strip {
    let [in_place, moved_out, moved_in] = kept;
    let region = match (kind, start) {
        (Kind::Region, 0x1_0000_0000..) => Some(MADE.to_owned()),
        (Kind::Region, _) => Some(OLDER.to_owned()),
        _ => None,
    };
    Strip { start, len, kind, region, in_place, moved_out, moved_in }
}

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

fn before() -> Picture {
    let strips = vec![
        strip(0x1000, 0x9e000, Kind::Ram, [0; 3]),
        strip(MIB, 15 * MIB, Kind::Ram, [0, 3 * MIB, 0]),
        strip(16 * MIB, 62 * MIB, Kind::Window, [0, 9 * MIB, 0]),
        strip(78 * MIB, 1458 * MIB, Kind::Ram, [0, 27 * MIB, 0]),
        strip(1536 * MIB, 256 * MIB, Kind::Region, [0; 3]),
        strip(1792 * MIB, 24 * MIB, Kind::Initrd, [0; 3]),
        strip(1816 * MIB, 96 * 1024, Kind::Parameters, [0; 3]),
        strip(1816 * MIB + 96 * 1024, 168 * 1024, Kind::Mover, [0; 3]),
        strip(1817 * MIB, 231 * MIB, Kind::Ram, [0; 3]),
        strip(4 * GIB, 6 * GIB, Kind::Region, [5 * GIB + 700 * MIB, 0, 37 * MIB]),
        strip(10 * GIB, 3 * GIB, Kind::Ram, [0, 6 * MIB, 0]),
        strip(13 * GIB, GIB, Kind::Region, [1015 * MIB, 0, 8 * MIB]),
        strip(14 * GIB, 2 * GIB, Kind::Ram, [0; 3]),
    ];
    let flow = |from, to, mib| Flow { from, to, bytes: mib * MIB };
    let flows = vec![flow(1, 9, 3), flow(2, 9, 9), flow(3, 9, 25), flow(3, 11, 2), flow(10, 11, 6)];
    Picture { strips, flows }
}

fn now() -> Picture {
    let strips = vec![
        strip(0x1000, 0x9e000, Kind::Ram, [0; 3]),
        strip(MIB, 15 * MIB, Kind::Ram, [0; 3]),
        strip(16 * MIB, 51 * MIB, Kind::Kernel, [0; 3]),
        strip(67 * MIB, 1469 * MIB, Kind::Ram, [0; 3]),
        strip(1536 * MIB, 128 * MIB, Kind::Released, [0; 3]),
        strip(1664 * MIB, 128 * MIB, Kind::GivenBack, [0; 3]),
        strip(1792 * MIB, 256 * MIB, Kind::Ram, [0; 3]),
        strip(4 * GIB, 6 * GIB, Kind::Region, [5 * GIB + 700 * MIB, 0, 37 * MIB]),
        strip(10 * GIB, 3 * GIB, Kind::Ram, [0; 3]),
        strip(13 * GIB, GIB, Kind::Region, [1015 * MIB, 0, 8 * MIB]),
        strip(14 * GIB, 2 * GIB, Kind::Ram, [0; 3]),
    ];
    Picture { strips, flows: Vec::new() }
}

fn entry(began: u64, outcome: Option<Outcome>) -> Entry {
    let lost = (outcome == Some(Outcome::Partly)).then(|| "source redis is missing".to_owned());
    Entry {
        region: MADE.parse().unwrap(),
        way: if outcome.is_some() { Way::Service } else { Way::Command },
        began: began * 1_000_000_000,
        stopped: None,
        old_kernel: "6.1.0-53-amd64".to_owned(),
        next_kernel: Some("6.12.57+deb13-amd64".to_owned()),
        sources: 2,
        kept: 6 * GIB + 736 * MIB,
        moved: 45 * MIB,
        spans: 2,
        arrival: outcome.map(|outcome| Arrival {
            boot: OLDER.parse().unwrap(),
            kernel: "6.12.57+deb13-amd64".to_owned(),
            time: 0,
            monotonic: 4.641,
            clock: Boot { zero: Some(3_650_000), init: Some(1.912), ..Boot::default() },
            outcome,
            message: lost,
            timeline: timeline(),
        }),
    }
}

pub(super) fn report() -> Report {
    let region = RegionLine {
        uuid: MADE.parse().unwrap(),
        bytes: 7 * GIB,
        spans: 2,
        missing: 0,
        created: 1_795_000_000,
        sources: vec!["memcached".to_owned(), "<b>\"odd\"</b>\u{1b}[31m".to_owned()],
        kept: Some(6 * GIB + 736 * MIB),
        moved: Some(45 * MIB),
        moves: Some(811),
        metadata: Some(2 * MIB),
    };
    Report {
        kernel: "6.12.57+deb13-amd64".to_owned(),
        jump: Some(Jump {
            region: region.uuid,
            old_kernel: Some("6.1.0-53-amd64".to_owned()),
            time: 1_795_000_002_000_000_000,
        }),
        arrived: Some(Arrivals {
            version: 1,
            sources: BTreeMap::from([
                ("memcached".to_owned(), Came::InPlace { at: vec!["/srv/memcached".to_owned()] }),
                ("redis".to_owned(), Came::Missing { why: "<none> is here".to_owned() }),
            ]),
            handovers: BTreeMap::from([(
                "app.service".to_owned(),
                HandedOver { descriptors: 3, lost: Vec::new() },
            )]),
        }),
        timeline: Some(timeline()),
        regions: vec![region],
        damaged: 0,
        before: Some(before()),
        after: Some(now()),
        history: vec![
            entry(1_794_000_000, None),
            entry(1_794_500_000, Some(Outcome::Partly)),
            entry(1_795_000_000, Some(Outcome::Back)),
        ],
        notes: vec!["region x: a block & a \"half\" are not readable".to_owned()],
    }
}

fn same(name: &str, now: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/report/golden").join(name);
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(path, now).unwrap();
        return;
    }
    let golden = std::fs::read_to_string(path).unwrap();
    let differs = golden.lines().zip(now.lines()).find(|(a, b)| a != b);
    assert!(golden == now, "{name} is not as it was; {WRITE}=1 writes it anew: {differs:#?}");
}

#[test]
fn every_form_is_as_its_golden_file() {
    let report = report();
    assert!(report.before.clone().unwrap().checked().is_some(), "the sample makes no sense");
    same("report.txt", &Text(&report).to_string());
    same("report.json", &(serde_json::to_string_pretty(&report).unwrap() + "\n"));
    same("report.html", &Page(&report).to_string());
    same("report.prom", &Metrics(&report).to_string());
    same("history.txt", &History { history: &report.history }.to_string());
}

#[test]
fn a_report_of_nothing_is_one() {
    let report = Report { kernel: "6.1".to_owned(), ..Report::default() };
    assert_eq!(Text(&report).to_string(), "kernel      6.1\nstarted     not by pkram\n");
    assert!(Page(&report).to_string().ends_with("</html>\n"));
    assert!(Metrics(&report).to_string().contains("\npkram_started 0\n"));
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let page = Page(&report()).to_string();
    for outside in ["http:", "https:", "<script", "@import", "src=", "\u{1b}", "<b>"] {
        assert!(!page.contains(outside), "{outside}");
    }
}
