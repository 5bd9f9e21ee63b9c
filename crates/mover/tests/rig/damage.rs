//! What the mover does when something is wrong: it says so, moves nothing, resets.

use mover::BLOB;
use mover_abi::check::{self, List};
use mover_abi::{Damage, Fault, ListPage, Move, PAGE, PARAMS_OFFSET, PageBytes, Params};

use crate::machine::{End, Machine, available, run};
use crate::memory::Memory;
use crate::scenario::{KERNEL, KERNEL_STAGED, Scenario};

/// Two list pages; each move alone would be seen.
fn scenario() -> Scenario {
    let mut scenario = Scenario::new();
    for i in 0..200 {
        let (from, to) = ((32 << 20) + i * PAGE, (5 << 30) + i * PAGE);
        scenario.memory.write(from, &(i + 1).to_le_bytes());
        scenario.phases[0].push(Move { from, to, len: PAGE });
    }
    scenario
}

/// What the same checks say here.
fn alleged_damage(scenario: &Scenario, memory: &Memory) -> Damage {
    let bytes = memory.read::<{ Params::SIZE }>(scenario.segment + PARAMS_OFFSET as u64);
    let end = scenario.segment + BLOB.len() as u64;
    check::params(&bytes, scenario.segment..end)
        .and_then(|params| List::check(&params, |addr| memory.page(addr)).map(|_| ()))
        .expect_err("the case is meant to be damaged")
}

/// Runs the mover on damaged `memory`: only a message, on serial port `port`.
#[track_caller]
fn assert_refused(scenario: &Scenario, memory: &Memory, fault: Fault, port: usize) {
    let damage = alleged_damage(scenario, memory);
    assert_eq!(damage.fault, fault, "{damage}");
    let outcome = run(memory);
    let mut serial = [String::new(), String::new()];
    serial[port] = format!("pkram mover: {damage}; nothing was moved; resetting\r\n");
    assert_eq!(outcome.serial, serial);
    assert_eq!(outcome.end, End::Reset);
    assert_eq!(scenario.strays(memory, &outcome), [], "pages that were written");
}

fn params_at(scenario: &Scenario) -> u64 {
    scenario.segment + PARAMS_OFFSET as u64
}

#[test]
fn sound_scenario_is_accepted() {
    if !available() {
        return;
    }
    assert_eq!(scenario().run().end, End::Entered);
}

#[test]
fn damaged_parameter_block() {
    if !available() {
        return;
    }
    let scenario = scenario();
    for (offset, fault) in [
        (0x00, Fault::Magic),
        (0x07, Fault::Magic),
        (0x08, Fault::Version),
        (0x0c, Fault::Crc),
        (0x10, Fault::Crc),
        (0x6f, Fault::Crc),
    ] {
        let mut memory = scenario.loaded();
        let at = params_at(&scenario) + offset;
        let [byte] = memory.read::<1>(at);
        memory.write(at, &[byte ^ 0x10]);
        assert_refused(&scenario, &memory, fault, 0);
    }
}

/// A block that is whole but wrong, as from a loader with a bug.
#[test]
fn wrong_parameter_block() {
    if !available() {
        return;
    }
    let scenario = scenario();
    let good = scenario.params();
    for (params, fault) in [
        (Params { segment_start: good.segment_start + PAGE, ..good }, Fault::SegmentStart),
        (Params { segment_end: good.segment_start + PAGE, ..good }, Fault::SegmentEnd),
        (Params { page_table: good.segment_end, ..good }, Fault::PageTable),
        (Params { entry: good.segment_start, ..good }, Fault::Entry),
        (Params { timeline: good.segment_end - 1, ..good }, Fault::Timeline),
        (Params { list_pages: 1, ..good }, Fault::ListPages),
        (Params { list_pages: 3, ..good }, Fault::ListPages),
        (Params { phase_moves: [200, 0, 0], ..good }, Fault::Moves),
    ] {
        let mut memory = scenario.loaded();
        memory.write(params_at(&scenario), &params.to_bytes());
        assert_refused(&scenario, &memory, fault, 0);
    }
}

#[test]
fn damaged_list_page() {
    if !available() {
        return;
    }
    let scenario = scenario();
    for (page, offset) in [(0, 0), (0, 0x0c), (1, 0x08), (1, 0xfff)] {
        let mut memory = scenario.loaded();
        let at = scenario.frames[page] + offset;
        let [byte] = memory.read::<1>(at);
        memory.write(at, &[byte ^ 1]);
        assert_refused(&scenario, &memory, Fault::Crc, 0);
    }
}

/// List pages that are whole but wrong.
#[test]
fn wrong_list() {
    if !available() {
        return;
    }
    let scenario = scenario();
    let (first, second) = (scenario.frames[0], scenario.frames[1]);
    let moves = scenario.moves();
    let tail = |to| {
        let mut tail = moves[170..].to_vec();
        tail[30] = Move { from: KERNEL_STAGED, to, len: PAGE };
        ListPage::to_bytes(0, &tail)
    };
    let with_count = |count: u32| {
        let mut page: PageBytes = ListPage::to_bytes(0, &moves[170..]);
        page[12..16].copy_from_slice(&count.to_le_bytes());
        let crc = mover_abi::crc32c(&[&page[..8], &page[12..]]);
        page[8..12].copy_from_slice(&crc.to_le_bytes());
        page
    };
    for (page, fault) in [
        (ListPage::to_bytes(first, &moves[170..]), Fault::ListOrder),
        (ListPage::to_bytes(second, &moves[170..]), Fault::ListOrder),
        (with_count(0), Fault::Count),
        (with_count(171), Fault::Count),
        (with_count(30), Fault::Moves),
        (tail(KERNEL + 8), Fault::To),
        (tail(KERNEL_STAGED), Fault::Overlap),
        (tail(scenario.segment_end() - PAGE), Fault::OverMover),
        (tail(first), Fault::OverList),
    ] {
        let mut memory = scenario.loaded();
        memory.write(second, &page);
        // A chain that loops must be found by itself, not by its length.
        let endless = Params { list_pages: u64::MAX, ..scenario.params() };
        if fault == Fault::ListOrder {
            memory.write(params_at(&scenario), &endless.to_bytes());
        }
        assert_refused(&scenario, &memory, fault, 0);
    }
}

#[test]
fn message_goes_to_the_port_that_was_asked_for() {
    if !available() {
        return;
    }
    let scenario = Scenario { serial_port: 0x2f8, ..scenario() };
    let mut memory = scenario.loaded();
    memory.write(scenario.frames[0], &[0xff]);
    assert_refused(&scenario, &memory, Fault::Crc, 1);
}

#[test]
fn no_port_no_message() {
    if !available() {
        return;
    }
    let scenario = Scenario { serial_port: 0, ..scenario() };
    let mut memory = scenario.loaded();
    memory.write(scenario.frames[0], &[0xff]);
    let outcome = run(&memory);
    assert_eq!(outcome.end, End::Reset);
    assert_eq!(outcome.serial, [String::new(), String::new()]);
    assert_eq!(scenario.strays(&memory, &outcome), []);
}

/// A page fault is reported with its address, and what it means for memory.
#[test]
fn unmapped_memory_is_reported() {
    if !available() {
        return;
    }
    let mut list = Scenario { unmapped: vec![2 << 30], ..scenario() };
    list.frames = vec![2 << 30, (2 << 30) + PAGE];
    let to = Scenario { unmapped: vec![5 << 30], ..scenario() };
    for (scenario, page, fate) in
        [(list, "0x80000", "nothing was moved"), (to, "0x140000", "moving had begun")]
    {
        let memory = scenario.loaded();
        let outcome = run(&memory);
        let text = &outcome.serial[0];
        assert!(text.starts_with("pkram mover: exception 0xe at 0x"), "{text}");
        assert!(text.contains(&format!(", address {page}")), "{text}");
        assert!(text.ends_with(&format!("; {fate}; resetting\r\n")), "{text}");
        assert_eq!(outcome.end, End::Reset);
        assert_eq!(scenario.strays(&memory, &outcome), []);
    }
}

/// A machine may lack a way to reset: boards without chipset register, without 8042, without both.
#[test]
fn one_of_three_ways_resets() {
    if !available() {
        return;
    }
    let scenario = scenario();
    let mut memory = scenario.loaded();
    memory.write(scenario.frames[0], &[0xff]);
    for board in ["isapc", "pc,i8042=off", "isapc,i8042=off"] {
        let outcome = Machine::start(board, &memory).finish();
        assert!(outcome.serial[0].ends_with("resetting\r\n"), "{board}: {:?}", outcome.serial);
        assert_eq!(outcome.end, End::Reset, "{board}");
    }
}
