//! Pages of commands: what clap knows, and then a text with what it does not.

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::{Page, markdown};

/// What all of them end with, and no text repeats.
const STATUS: &str = "
# EXIT STATUS

| | |
|-----|---|
| `0` | Done, or the answer is yes. |
| `1` | Refused or failed, with a message on standard error. Where only a question was asked: the answer is no, and stands on standard output. |
| `2` | The command line could not be understood. Where only a question was asked: there is no answer, and a message on standard error says why. |
";

/// The page of a whole program, whose verbs have pages of their own.
pub(super) fn program(command: &Command, text: &str) -> Page {
    let mut list = Roff::new();
    list.control("SH", ["COMMANDS"]);
    for verb in verbs(command) {
        let name = format!("{}-{}", command.get_name(), verb.get_name());
        list.control("TP", []).text([bold(name), roman("(8)")]);
        list.text(markdown::inlines(&sentence(&about(verb))));
    }
    page(command.get_name(), command, &list.to_roff(), text)
}

/// The page of one verb, or of a program, with all that its own verbs do.
pub(super) fn whole(command: &Command, text: &str) -> Page {
    let mut parts = String::new();
    for (i, verb) in verbs(command).enumerate() {
        let mut part = Roff::new();
        if i == 0 {
            part.control("SH", ["COMMANDS"]);
        }
        part.control("TP", []).text([bold(usage(verb, verb.get_bin_name().unwrap_or_default()))]);
        part.text(markdown::inlines(&sentence(&about(verb))));
        // What all of them have stands above.
        let own = verb.clone().mut_args(|arg| {
            let everywhere = arg.is_global_set() || arg.get_id() == "help";
            if everywhere { arg.hide(true) } else { arg }
        });
        let options = options(&own).replace(".SH OPTIONS\n", "");
        parts += &format!("{}.RS\n{options}.RE\n", part.to_roff());
    }
    page(command.get_display_name().unwrap_or(command.get_name()), command, &parts, text)
}

/// Those that are for people.
pub(super) fn verbs(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|verb| verb.get_name() != "help" && !verb.is_hide_set())
}

fn page(name: &str, command: &Command, parts: &str, text: &str) -> Page {
    let mut body = Roff::new();
    let called = command.get_bin_name().unwrap_or(command.get_name());
    body.control("SH", ["SYNOPSIS"]).text([bold(usage(command, called))]);
    body.control("SH", ["DESCRIPTION"]);
    let long = command.get_long_about().or(command.get_about()).map(ToString::to_string);
    for (i, paragraph) in long.unwrap_or_default().split("\n\n").enumerate() {
        if i > 0 {
            body.control("PP", []);
        }
        body.text(markdown::inlines(&sentence(paragraph)));
    }
    let options = options(command);
    let status = if text.contains("# EXIT STATUS") { "" } else { STATUS };
    // Text before the first heading goes on with the description.
    let (more, sections) = text.split_at(heading(text));
    let more = markdown::to_roff(more);
    let [sections, status] = [sections, status].map(markdown::to_roff);
    let body = [&body.to_roff(), &more, &options, parts, &status, &sections].concat();
    Page::new(name, 8, &short(&about(command)), &body)
}

fn heading(text: &str) -> usize {
    if text.starts_with("# ") { 0 } else { text.find("\n# ").map_or(text.len(), |at| at + 1) }
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

fn usage(command: &Command, called: &str) -> String {
    let usage = command.clone().bin_name(called).render_usage().to_string();
    usage.trim_start_matches("Usage: ").trim_end().to_owned()
}

/// clap takes the full stop of a help text away.
fn sentence(text: &str) -> String {
    let text = text.trim().replace('\n', " ");
    if text.ends_with('.') { text } else { format!("{text}.") }
}

/// For the line that `whatis` shows: what comes before the first semicolon and the like.
fn short(about: &str) -> String {
    let end = about.find([';', ':']).into_iter().chain(about.find(". ")).min();
    let start = about[..end.unwrap_or(about.len())].trim_end_matches('.').replace('`', "");
    let mut chars = start.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

fn options(command: &Command) -> String {
    let mut options = Vec::new();
    // Writing to memory does not fail.
    let _ = Man::new(command.clone()).render_options_section(&mut options);
    in_bold(&String::from_utf8_lossy(&options))
}

/// What help texts have in backticks is bold on a page.
fn in_bold(roff: &str) -> String {
    let mut pieces = roff.split('`');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for (i, piece) in pieces.enumerate() {
        text.push_str(if i % 2 == 0 { "\\fB" } else { "\\fR" });
        text.push_str(piece);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_whatis_is_short() {
        assert_eq!(short("Say whether; load nothing. Without"), "say whether");
        assert_eq!(
            short("Jump into what `pkram kexec` loaded."),
            "jump into what pkram kexec loaded"
        );
    }

    #[test]
    fn text_before_the_first_heading_goes_on_with_the_description() {
        assert_eq!(heading("# FILES\n"), 0);
        assert_eq!(heading("More.\n\n# FILES\n"), 7);
        assert_eq!(heading("More."), 5);
    }
}
