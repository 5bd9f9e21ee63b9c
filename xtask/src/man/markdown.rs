//! From the Markdown of our texts to roff.
//!
//! | Markdown | page |
//! |---|---|
//! | headings of the first two levels | `.SH`, `.SS` |
//! | a row of a table | `.TP`: the first cell is the term; a third one follows its column's name |
//! | a code block | an example |
//! | code, strong; emphasis | bold; italic |

use clap_mangen::roff::{Inline, Roff, bold, italic, roman};
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// Whole texts.
pub(super) fn to_roff(text: &str) -> String {
    let mut writer = Writer::default();
    Parser::new_ext(text, Options::ENABLE_TABLES).for_each(|event| writer.event(event));
    writer.page.to_roff()
}

/// A text of one paragraph.
pub(super) fn inlines(text: &str) -> Vec<Inline> {
    let mut writer = Writer::default();
    for event in Parser::new(text) {
        if !matches!(event, Event::Start(Tag::Paragraph) | Event::End(TagEnd::Paragraph)) {
            writer.event(event);
        }
    }
    writer.line
}

#[derive(Default)]
struct Writer {
    page: Roff,
    /// The line that grows.
    line: Vec<Inline>,
    font: Option<fn(String) -> Inline>,
    code: bool,
    item: bool,
    /// Of a table: its head, and the row that grows.
    columns: Vec<Vec<Inline>>,
    cells: Vec<Vec<Inline>>,
}

impl Writer {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(&tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) if self.code => {
                for line in text.lines() {
                    self.page.text([roman(line)]);
                }
            }
            // `<FILE>` looks like a tag of HTML.
            Event::Text(text) | Event::InlineHtml(text) => self.push(text.into_string()),
            Event::Code(text) => self.line.push(bold(text.into_string())),
            Event::SoftBreak | Event::HardBreak => self.push(" ".to_owned()),
            _ => {}
        }
    }

    fn push(&mut self, text: String) {
        // Not every terminal has it.
        let text = text.replace('…', "...");
        self.line.push(self.font.map_or_else(|| roman(text.clone()), |font| font(text.clone())));
    }

    fn start(&mut self, tag: &Tag<'_>) {
        match tag {
            Tag::Paragraph if !self.item => {
                self.page.control("PP", []);
            }
            Tag::CodeBlock(_) => {
                self.code = true;
                self.page.control("PP", []).control("RS", ["4"]).control("EX", []);
            }
            Tag::Item => {
                self.item = true;
                self.page.control("IP", ["\\(bu", "2"]);
            }
            Tag::Strong => self.font = Some(bold),
            Tag::Emphasis => self.font = Some(italic),
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(level) => {
                let heading = plain(&std::mem::take(&mut self.line)).to_uppercase();
                let macro_name = if level == HeadingLevel::H1 { "SH" } else { "SS" };
                self.page.control(macro_name, [heading.as_str()]);
            }
            TagEnd::Paragraph => self.flush(),
            TagEnd::Item => {
                self.flush();
                self.item = false;
            }
            TagEnd::CodeBlock => {
                self.code = false;
                self.page.control("EE", []).control("RE", []);
            }
            TagEnd::Strong | TagEnd::Emphasis => self.font = None,
            TagEnd::TableCell => self.cells.push(std::mem::take(&mut self.line)),
            TagEnd::TableHead => self.columns = std::mem::take(&mut self.cells),
            TagEnd::TableRow => self.row(),
            _ => {}
        }
    }

    fn flush(&mut self) {
        if !self.line.is_empty() {
            self.page.text(std::mem::take(&mut self.line));
        }
    }

    fn row(&mut self) {
        let mut cells = std::mem::take(&mut self.cells).into_iter();
        self.page.control("TP", []).text(cells.next().unwrap_or_default());
        let mut text = ended(capital(cells.next().unwrap_or_default()));
        for (cell, column) in cells.zip(self.columns.iter().skip(2)) {
            if !cell.is_empty() {
                let column = plain(column);
                let first = column[..1].to_uppercase();
                text.push(roman(format!(" {first}{}: ", &column[1..])));
                text.extend(ended(cell));
            }
        }
        self.page.text(text);
    }
}

fn capital(mut cell: Vec<Inline>) -> Vec<Inline> {
    if let Some(Inline::Roman(first)) = cell.first_mut() {
        let mut chars = first.chars();
        *first = chars.next().into_iter().flat_map(char::to_uppercase).chain(chars).collect();
    }
    cell
}

/// A cell as sentences.
fn ended(mut cell: Vec<Inline>) -> Vec<Inline> {
    if !plain(&cell).ends_with(['.', '?', '!']) {
        cell.push(roman("."));
    }
    cell
}

fn plain(inlines: &[Inline]) -> String {
    let texts = inlines.iter().map(|inline| match inline {
        Inline::Roman(text) | Inline::Italic(text) | Inline::Bold(text) => text.as_str(),
        Inline::LineBreak => " ",
    });
    texts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_becomes_a_page() {
        let text = "# Files\n\nSee `a-b`\nand *c*.\n\n| key | value | default |\n|---|---|---|\n\
                    | `x` | a thing | `1` |\n| `y` | another | none |\n\n    .code\n    \\n\n\n- one\n";
        let page = ".SH FILES\n.PP\nSee \\fBa\\-b\\fR and \\fIc\\fR.\n\
                    .TP\n\\fBx\\fR\nA thing. Default: \\fB1\\fR.\n\
                    .TP\n\\fBy\\fR\nAnother. Default: none.\n\
                    .PP\n.RS 4\n.EX\n\\&.code\n\\\\n\n.EE\n.RE\n.IP \\(bu 2\none\n";
        assert_eq!(to_roff(text), page);
    }
}
