//! Lines over time, as a picture that any browser shows.

use std::fmt::Write as _;

/// A line.
pub(super) struct Line {
    pub(super) name: &'static str,
    /// Seconds, and what there was then.
    pub(super) points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 160.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 30.0;
const COLOURS: [&str; 3] = ["#1f6feb", "#d1242f", "#8250df"];

/// Panels one below the other, each with a title and its own scale, all over the same time.
pub(super) fn svg(panels: &[(&str, Vec<Line>)]) -> String {
    let lines = || panels.iter().flat_map(|(_, lines)| lines);
    let end = lines().flat_map(|l| &l.points).map(|p| p.0).fold(1e-3, f64::max);
    let (width, step) = (LEFT + WIDTH + 20.0, HEIGHT + 50.0);
    let count = u32::try_from(panels.len()).map_or(1.0, f64::from);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
        TOP + count * step
    );
    let mut top = TOP;
    for (title, lines) in panels {
        let most = lines.iter().flat_map(|l| &l.points).map(|p| p.1).fold(0.0, f64::max);
        let scale = if most > 0.0 { most * 1.05 } else { 1.0 };
        let bottom = top + HEIGHT;
        // A string takes all that is written to it.
        let _ = writeln!(
            out,
            "<text x=\"{LEFT}\" y=\"{:.0}\" font-weight=\"bold\">{title}</text>\n\
             <rect x=\"{LEFT}\" y=\"{top}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"none\" stroke=\"#999\"/>\n\
             <text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{most:.2}</text>\n\
             <text x=\"{:.0}\" y=\"{bottom}\" text-anchor=\"end\">0</text>\n\
             <text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{end:.1} s</text>",
            top - 8.0,
            LEFT - 6.0,
            top + HEIGHT * (1.0 - most / scale) + 4.0,
            LEFT - 6.0,
            LEFT + WIDTH,
            bottom + 16.0
        );
        for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
            let points = line.points.iter().fold(String::new(), |mut text, (x, y)| {
                let _ = write!(text, "{:.1},{:.1} ", LEFT + WIDTH * x / end, bottom - HEIGHT * y / scale);
                text
            });
            let points = points.trim_end();
            let name = line.name;
            let _ = writeln!(
                out,
                "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" points=\"{points}\">\
                 <title>{name}</title></polyline>"
            );
        }
        let names: Vec<String> = lines
            .iter()
            .zip(COLOURS.iter().cycle())
            .map(|(line, colour)| format!("<tspan fill=\"{colour}\">{}</tspan>", line.name))
            .collect();
        let _ = writeln!(
            out,
            "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{}</text>",
            LEFT + WIDTH,
            top - 8.0,
            names.join(" ")
        );
        top += step;
    }
    out.push_str("</svg>\n");
    out
}
