//! A text's part between two marks.

/// The text with the lines given in place of what stands between the marks; none where the marks are missing.
pub fn replaced(text: &str, begin: &str, end: &str, lines: &[String]) -> Option<String> {
    let (before, rest) = text.split_once(begin)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{begin}\n{}\n{end}{after}", lines.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stood_between_the_marks_goes_and_the_rest_stays() {
        let text = "a\n<b>\nold\nolder\n<e>\nz\n";
        let lines = ["new".to_owned(), "newer".to_owned()];
        let once = replaced(text, "<b>", "<e>", &lines).unwrap();
        assert_eq!(once, "a\n<b>\nnew\nnewer\n<e>\nz\n");
        assert_eq!(replaced(&once, "<b>", "<e>", &lines), Some(once));
    }

    #[test]
    fn without_both_marks_nothing_is_replaced() {
        assert_eq!(replaced("a <e> <b>", "<b>", "<e>", &[]), None);
        assert_eq!(replaced("a <b>", "<b>", "<e>", &[]), None);
    }
}
