//! What is printed: rows, as text or as JSON.

use serde_json::{Value, json};

/// One line of the table.
#[derive(Debug, Clone, Default)]
pub struct Row {
    what: String,
    value: Option<f64>,
    unit: &'static str,
    /// Every value that the first one was taken from.
    samples: Vec<f64>,
    detail: String,
    target: Option<Target>,
    quoted: &'static str,
}

/// What a value should be.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
}

impl Target {
    fn met(self, value: f64) -> bool {
        match self {
            Target::AtMost(limit) => value <= limit,
            Target::AtLeast(limit) => value >= limit,
        }
    }

    fn text(self, value: f64) -> String {
        let (sign, limit) = match self {
            Target::AtMost(limit) => ("≤", limit),
            Target::AtLeast(limit) => ("≥", limit),
        };
        format!("{sign} {}{}", number(limit), if self.met(value) { ", met" } else { ", MISSED" })
    }
}

impl Row {
    /// The best of several values: the least, or with [`Target::AtLeast`] the greatest, see [`Row::target`].
    pub fn new(what: impl Into<String>, unit: &'static str, samples: &[f64]) -> Row {
        let value = samples.iter().copied().reduce(f64::min);
        Row { what: what.into(), value, unit, samples: samples.to_vec(), ..Row::default() }
    }

    /// The greatest of several values.
    pub fn most(what: impl Into<String>, unit: &'static str, samples: &[f64]) -> Row {
        let value = samples.iter().copied().reduce(f64::max);
        Row { value, ..Row::new(what, unit, samples) }
    }

    /// What could not be measured, and why.
    pub fn skipped(what: impl Into<String>, why: impl Into<String>) -> Row {
        Row { what: what.into(), detail: why.into(), ..Row::default() }
    }

    /// Says more about the value.
    pub fn detail(mut self, detail: impl Into<String>) -> Row {
        self.detail = detail.into();
        self
    }

    /// What the value should be.
    pub fn target(mut self, target: Target) -> Row {
        self.target = Some(target);
        self
    }

    /// The old system's figure.
    pub fn quoted(mut self, quoted: &'static str) -> Row {
        self.quoted = quoted;
        self
    }

    fn measured(&self) -> String {
        match (self.value, self.detail.is_empty()) {
            (Some(value), true) => format!("{} {}", number(value), self.unit),
            (Some(value), false) => format!("{} {}; {}", number(value), self.unit, self.detail),
            (None, _) => format!("not measured: {}", self.detail),
        }
    }

    fn cells(&self) -> [String; 4] {
        let target = match (self.target, self.value) {
            (Some(target), Some(value)) => target.text(value),
            _ => String::new(),
        };
        [self.what.clone(), self.measured(), target, self.quoted.to_owned()]
    }

    fn json(&self) -> Value {
        let (at_most, at_least) = match self.target {
            Some(Target::AtMost(limit)) => (Some(limit), None),
            Some(Target::AtLeast(limit)) => (None, Some(limit)),
            None => (None, None),
        };
        json!({
            "what": self.what,
            "value": self.value,
            "unit": self.unit,
            "samples": self.samples,
            "detail": self.detail,
            "atMost": at_most,
            "atLeast": at_least,
            "met": self.target.zip(self.value).map(|(target, value)| target.met(value)),
            "nodevmsQuoted": self.quoted,
        })
    }
}

/// Three digits that count, thousands apart.
pub fn number(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude >= 99.95 {
        let digits = format!("{value:.0}");
        let mut text = String::new();
        for (i, digit) in digits.chars().enumerate() {
            if i > 0 && (digits.len() - i).is_multiple_of(3) && !text.ends_with('-') {
                text.push(',');
            }
            text.push(digit);
        }
        text
    } else if magnitude >= 9.995 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// The table as text.
pub fn text(rows: &[Row]) -> String {
    let head = ["what", "measured", "target", "NodeVMS, quoted"].map(str::to_owned);
    let lines: Vec<[String; 4]> = std::iter::once(head).chain(rows.iter().map(Row::cells)).collect();
    let widths: Vec<usize> =
        (0..4).map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0)).collect();
    let mut out = String::new();
    for (i, line) in lines.iter().enumerate() {
        for (cell, width) in line.iter().zip(&widths) {
            out.push_str("| ");
            out.push_str(cell);
            out.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 1));
        }
        out.push_str("|\n");
        if i == 0 {
            for width in &widths {
                out.push('|');
                out.extend(std::iter::repeat_n('-', width + 2));
            }
            out.push_str("|\n");
        }
    }
    out
}

/// The table as JSON.
pub fn json(rows: &[Row]) -> String {
    let rows: Vec<Value> = rows.iter().map(Row::json).collect();
    serde_json::to_string_pretty(&rows).expect("rows are plain values")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (value, text) in
            [(0.0, "0.00"), (1.2345, "1.23"), (39.96, "40.0"), (99.99, "100"), (1234.5, "1,234"), (1_000_000.0, "1,000,000")]
        {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_target_says_whether_it_is_met() {
        assert_eq!(Row::new("x", "µs", &[41.0, 39.0]).target(Target::AtMost(40.0)).cells()[2], "≤ 40.0, met");
        assert_eq!(Row::most("x", "/s", &[9.0, 8.0]).target(Target::AtLeast(10.0)).cells()[2], "≥ 10.0, MISSED");
        assert!(Row::skipped("x", "no").cells()[1].starts_with("not measured"));
    }
}
