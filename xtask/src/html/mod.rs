//! `cargo xtask html`: the report's page in headless Chromium.
//!
//! ```text
//! report.html ─► light │ dark × 400 │ 1400 pixels ─► look.js asks the page, a screenshot shows it
//! ```
//!
//! Seen must be: nothing on the console, nothing asked of the network, no page wider than the window,
//! texts that stand out (WCAG 2.2, 1.4.3), and pictures that are not blank and differ.

mod chromium;
mod png;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use chromium::Chromium;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The page that the tests of pkram-cli keep current, with something of everything.
const PAGE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/pkram-cli/src/report/golden/report.html");
const LOOK: &str = include_str!("look.js");

/// What WCAG 2.2 asks of text that is not large.
const CONTRAST: f64 = 4.5;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Another page
    page: Option<PathBuf>,
    /// Where the screenshots go
    #[arg(long, default_value = "target/html")]
    shots: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let page = args.page.as_deref().unwrap_or(Path::new(PAGE));
    let page = page.canonicalize().with_context(|| page.display().to_string())?;
    fs::create_dir_all(&args.shots)?;
    let mut browser = Chromium::start()?;
    let mut shots = BTreeMap::new();
    for scheme in ["light", "dark"] {
        for width in [400, 1400] {
            let name = format!("{scheme}-{width}");
            let shot = look(&mut browser, &page, scheme, width).context(name.clone())?;
            fs::write(args.shots.join(format!("{name}.png")), &shot)?;
            shots.insert(name, shot);
        }
    }
    for width in [400, 1400] {
        let of = |scheme| &shots[&format!("{scheme}-{width}")];
        ensure!(of("light") != of("dark"), "light and dark are the same at {width} pixels");
    }
    eprintln!("the page is good; its pictures are in {}", args.shots.display());
    Ok(())
}

/// Opens the page, asks it, and takes its picture.
fn look(browser: &mut Chromium, page: &Path, scheme: &str, width: u32) -> Result<Vec<u8>> {
    let mut tab = browser.tab()?;
    for domain in ["Page", "Runtime", "Log", "Network"] {
        tab.ask(&format!("{domain}.enable"), json!({}))?;
    }
    let feature = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
    tab.ask("Emulation.setEmulatedMedia", json!({ "features": feature }))?;
    let size = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
    tab.ask("Emulation.setDeviceMetricsOverride", size)?;
    let url = format!("file://{}", page.display());
    tab.ask("Page.navigate", json!({ "url": url }))?;
    tab.wait_for("Page.loadEventFired")?;

    let asked = json!({ "expression": LOOK, "returnByValue": true });
    let answer = tab.ask("Runtime.evaluate", asked)?;
    let seen = &answer["result"]["value"];
    let wide = seen["width"].as_u64().with_context(|| format!("look.js failed: {answer}"))?;
    ensure!(wide <= u64::from(width), "the page is {wide} pixels wide");
    let texts = seen["texts"].as_array().context("no texts")?;
    ensure!(texts.len() > 100, "only {} texts were found", texts.len());
    let faint: Vec<_> = texts.iter().filter(|t| t["contrast"].as_f64() < Some(CONTRAST)).collect();
    ensure!(faint.is_empty(), "texts that do not stand out: {faint:#?}");
    let nameless = seen["nameless"].as_u64().context("no count of pictures")?;
    ensure!(nameless == 0, "{nameless} pictures have no title or description");

    let shot = json!({ "format": "png", "captureBeyondViewport": true });
    let shot = tab.ask("Page.captureScreenshot", shot)?;
    let shot = shot["data"].as_str().context("no screenshot")?;
    let shot = base64::engine::general_purpose::STANDARD.decode(shot)?;
    ensure!(png::details(&shot)? > 10_000, "the screenshot is blank");

    for event in tab.events() {
        let loud = ["Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"];
        let method = event["method"].as_str().unwrap_or_default();
        ensure!(!loud.contains(&method), "on the console: {event}");
        if method == "Network.requestWillBeSent" {
            let asked = event["params"]["request"]["url"].as_str().unwrap_or_default();
            ensure!(asked == url || asked.starts_with("data:"), "asked of the network: {asked}");
        }
    }
    Ok(shot)
}
