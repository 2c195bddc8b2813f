//! Spans of time for people.

use jiff::SignedDuration;

/// A span in its largest unit and the one below, rounded down: `0 s`, `42 s`, `3 m 12 s`, `1 h 4 m`, `2 d 3 h`. A zero
/// second unit is left out: `5 m`. The sign is dropped; the caller says `ago` or `in`.
#[must_use]
pub fn humanize(span: SignedDuration) -> String {
    let seconds = span.unsigned_abs().as_secs();
    let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let first = units
        .iter()
        .position(|(size, _)| seconds >= *size)
        .unwrap_or(units.len() - 1);
    let mut rest = seconds;
    let mut out = String::new();
    for (size, unit) in units.iter().skip(first).take(2) {
        let count = rest / size;
        rest %= size;
        if out.is_empty() {
            out = format!("{count} {unit}");
        } else if count > 0 {
            out.push_str(&format!(" {count} {unit}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_unit_and_the_next_are_shown() {
        for (seconds, expected) in [
            (0, "0 s"),
            (1, "1 s"),
            (59, "59 s"),
            (60, "1 m"),
            (192, "3 m 12 s"),
            (3_600, "1 h"),
            (3_659, "1 h"),
            (3_840, "1 h 4 m"),
            (86_400, "1 d"),
            (86_400 + 59 * 60, "1 d"),
            (2 * 86_400 + 3 * 3_600 + 59, "2 d 3 h"),
            (400 * 86_400, "400 d"),
            (i64::MAX, "106751991167300 d 15 h"),
        ] {
            assert_eq!(humanize(SignedDuration::from_secs(seconds)), expected);
            assert_eq!(humanize(SignedDuration::from_secs(-seconds)), expected);
        }
        assert_eq!(humanize(SignedDuration::from_millis(1_999)), "1 s");
        assert_eq!(humanize(SignedDuration::MIN), "106751991167300 d 15 h");
    }
}
