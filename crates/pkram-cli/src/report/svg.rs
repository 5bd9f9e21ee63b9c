//! Writing SVG: elements one after the other, colours by class, every text escaped.

use std::fmt::{Display, Write as _};

/// Text for HTML and SVG, in an element or an attribute. Control characters have no place in either.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A number without digits that nobody sees.
fn short(number: f64) -> impl Display {
    // -0 is 0.
    (number * 10.0).round() / 10.0 + 0.0
}

/// A picture.
#[derive(Debug, Default)]
pub(super) struct Svg {
    body: String,
}

/// Where a text stands to its point.
#[derive(Clone, Copy, Debug)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A rectangle.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rect {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl Svg {
    /// A rectangle, with what is said of it where somebody points at it.
    pub(super) fn rect(&mut self, class: &str, at: Rect, title: &str) {
        let [x, y, w, h] = [at.x, at.y, at.width, at.height].map(short);
        let _ =
            write!(self.body, r#"<rect class="{class}" x="{x}" y="{y}" width="{w}" height="{h}""#);
        let _ = match title {
            "" => writeln!(self.body, "/>"),
            title => writeln!(self.body, "><title>{}</title></rect>", escape(title)),
        };
    }

    pub(super) fn text(&mut self, class: &str, x: f64, y: f64, anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let (x, y, text) = (short(x), short(y), escape(text));
        let _ = writeln!(
            self.body,
            r#"<text class="{class}" x="{x}" y="{y}" text-anchor="{anchor}">{text}</text>"#
        );
    }

    /// A line from point to point.
    pub(super) fn line(&mut self, class: &str, points: &[(f64, f64)]) {
        let mut path = String::new();
        for (i, (x, y)) in points.iter().enumerate() {
            let _ = write!(path, "{}{} {}", if i == 0 { "M" } else { "L" }, short(*x), short(*y));
        }
        let _ = writeln!(self.body, r#"<path class="{class}" d="{path}"/>"#);
    }

    /// A curve that leaves and arrives horizontally, `width` wide.
    pub(super) fn curve(
        &mut self,
        class: &str,
        from: (f64, f64),
        to: (f64, f64),
        width: f64,
        title: &str,
    ) {
        let middle = f64::midpoint(from.0, to.0);
        let [x1, y1, x2, y2, middle, width] =
            [from.0, from.1, to.0, to.1, middle, width].map(short);
        let _ = writeln!(
            self.body,
            r#"<path class="{class}" stroke-width="{width}" d="M{x1} {y1}C{middle} {y1} {middle} {y2} {x2} {y2}"><title>{}</title></path>"#,
            escape(title)
        );
    }

    /// The whole picture, `width` by `height` units, with what it shows in words.
    pub(super) fn finish(
        self,
        id: &str,
        width: f64,
        height: f64,
        title: &str,
        desc: &str,
    ) -> String {
        let (w, h, title, desc) = (short(width), short(height), escape(title), escape(desc));
        format!(
            "<svg viewBox=\"0 0 {w} {h}\" role=\"img\" aria-labelledby=\"{id}-title {id}-desc\">\n\
             <title id=\"{id}-title\">{title}</title>\n<desc id=\"{id}-desc\">{desc}</desc>\n{}</svg>\n",
            self.body
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_others_wrote_becomes_markup() {
        assert_eq!(escape("<a href='\"&\u{7}"), "&lt;a href=&#39;&quot;&amp;\u{fffd}");
        let mut svg = Svg::default();
        svg.text("t", -0.01, 2.345, Anchor::End, "<script>");
        let text = r#"<text class="t" x="0" y="2.3" text-anchor="end">&lt;script&gt;</text>"#;
        assert_eq!(svg.body, format!("{text}\n"));
    }
}
