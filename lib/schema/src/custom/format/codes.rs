//! Formats of codes with digits of their own: cards, books, colours, addresses of mail.

/// Twelve bytes in hexadecimal.
pub(super) fn is_object_id(text: &str) -> bool {
    text.len() == 24 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Three or six digits, with or without `#`.
pub(super) fn is_hex_color(text: &str) -> bool {
    let digits = text.strip_prefix('#').unwrap_or(text);
    matches!(digits.len(), 3 | 6) && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// `rgb(255, 0, 10)`.
pub(super) fn is_rgb_color(text: &str) -> bool {
    let inner = text.strip_prefix("rgb(").and_then(|rest| rest.strip_suffix(')')).unwrap_or_default();
    let part = |part: &str| {
        let part = part.trim();
        let leading = part.len() > 1 && part.starts_with('0');
        !leading && part.bytes().all(|byte| byte.is_ascii_digit()) && part.parse::<u8>().is_ok()
    };
    inner.split(',').count() == 3 && inner.split(',').all(part)
}

/// `123-45-6789`, also with blanks or nothing between.
pub(super) fn is_social_security_number(text: &str) -> bool {
    let separator = |text: &str| text.starts_with(['-', ' ']);
    let mut rest = text;
    for (index, length) in [3, 2, 4].into_iter().enumerate() {
        if index > 0 && separator(rest) {
            rest = &rest[1..];
        }
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count().min(length);
        if digits < length {
            return false;
        }
        rest = &rest[length..];
    }
    rest.is_empty()
}

/// 13 to 19 digits whose check digit (Luhn) is right; blanks and dashes don't count.
pub(super) fn is_credit_card(text: &str) -> bool {
    let digits = digits(text, false);
    let fits = |digits: &Vec<u32>| (13..=19).contains(&digits.len()) && luhn(digits);
    digits.is_some_and(|digits| fits(&digits))
}

/// A book's number of ten or of thirteen digits.
pub(super) fn is_isbn(text: &str) -> bool {
    is_isbn10(text) || is_isbn13(text)
}

/// A book's number of ten digits, of which the last may be `X`.
pub(super) fn is_isbn10(text: &str) -> bool {
    let sum = |digits: &[u32]| digits.iter().zip(1..).map(|(digit, place)| digit * place).sum::<u32>();
    digits(text, true).is_some_and(|digits| digits.len() == 10 && sum(&digits) % 11 == 0)
}

/// A book's number of thirteen digits.
pub(super) fn is_isbn13(text: &str) -> bool {
    let sum = |digits: &[u32]| digits.iter().zip([1, 3].into_iter().cycle()).map(|(digit, by)| digit * by).sum::<u32>();
    digits(text, false).is_some_and(|digits| digits.len() == 13 && sum(&digits) % 10 == 0)
}

/// An address of mail, alone or behind a name: `Ada <ada@example.com>`.
pub(super) fn is_email(text: &str) -> bool {
    let address = match text.trim().strip_suffix('>') {
        Some(named) => named.rsplit_once('<').map_or("", |(_, address)| address),
        None => text.trim(),
    };
    let Some((local, domain)) = address.rsplit_once('@') else { return false };
    let quoted = local.len() >= 2 && local.starts_with('"') && local.ends_with('"');
    (quoted || is_dotted(local)) && is_dotted(domain)
}

fn is_dotted(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || !c.is_ascii();
    text.split('.').all(|part| !part.is_empty() && part.chars().all(allowed))
}

/// The digits of a code, without blanks and dashes; `X` at the end is ten, where that is allowed.
fn digits(text: &str, ten: bool) -> Option<Vec<u32>> {
    let code: Vec<char> = text.chars().filter(|c| !matches!(c, ' ' | '-')).collect();
    let last = code.len().checked_sub(1)?;
    let digit = |(place, c): (usize, char)| match c {
        'X' | 'x' if ten && place == last => Some(10),
        c => c.to_digit(10),
    };
    code.into_iter().enumerate().map(digit).collect()
}

fn luhn(digits: &[u32]) -> bool {
    let doubled = |digit: u32| if digit > 4 { digit * 2 - 9 } else { digit * 2 };
    let weigh = |(place, digit): (usize, &u32)| if place % 2 == 1 { doubled(*digit) } else { *digit };
    digits.iter().rev().enumerate().map(weigh).sum::<u32>() % 10 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_keep_their_rules() {
        type Case = (fn(&str) -> bool, &'static [&'static str], &'static [&'static str]);
        let cases: &[Case] = &[
            (is_object_id, &["507f1f77bcf86cd799439011"], &["507f1f77bcf86cd79943901", "507f1f77bcf86cd79943901g"]),
            (is_hex_color, &["#fff", "A0B1C2"], &["#ffff", "#ggg", ""]),
            (is_rgb_color, &["rgb(0,10, 255)"], &["rgb(0,0,256)", "rgb(00,0,0)", "rgb(1,2)", "0,0,0"]),
            (
                is_social_security_number,
                &["123-45-6789", "123456789", "123 45 6789"],
                &["12-345-6789", "1234567890", "ü"],
            ),
            (is_credit_card, &["4111 1111 1111 1111"], &["4111111111111112", "4111", "x"]),
            (is_isbn10, &["3-598-21508-8", "3-598-21507-X"], &["3-598-21508-9", "X-598-21508-8"]),
            (is_isbn13, &["978-0-306-40615-7"], &["978-0-306-40615-8", "0-306-40615-2"]),
            (is_isbn, &["0-306-40615-2", "9780306406157"], &["1"]),
            (
                is_email,
                &["ada@example.com", "Ada Lovelace <ada@example.com>", "\"a b\"@example.com"],
                &["ada", "@example.com", "a@", "a..b@example.com", "a b@example.com"],
            ),
        ];
        for (check, good, bad) in cases {
            good.iter().for_each(|text| assert!(check(text), "{text}"));
            bad.iter().for_each(|text| assert!(!check(text), "{text}"));
        }
    }
}
