//! Rust read as far as the rules need it: words, numbers and signs with their lines, without comments and strings.

/// The smallest piece of a program that still means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Word(&'a str),
    Number(&'a str),
    /// `::`
    Path,
    Sign(char),
    /// A string, a character or a lifetime: what stands in it is nobody's business here.
    Quoted,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'a> {
    pub(super) piece: Piece<'a>,
    pub(super) line: usize,
}

/// All tokens of a source file.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut reader = Reader { text, at: 0, line: 1, tokens: Vec::new() };
    while reader.at < text.len() {
        reader.step();
    }
    reader.tokens
}

/// The same without the items marked `#[cfg(test)]`.
pub(super) fn without_tests<'a>(tokens: &[Token<'a>]) -> Vec<Token<'a>> {
    let mut kept = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        if is_test_mark(&tokens[at..]) {
            at = end_of_item(tokens, at + TEST_MARK.len());
        } else {
            kept.push(tokens[at]);
            at += 1;
        }
    }
    kept
}

const TEST_MARK: [Piece<'_>; 7] = [
    Piece::Sign('#'),
    Piece::Sign('['),
    Piece::Word("cfg"),
    Piece::Sign('('),
    Piece::Word("test"),
    Piece::Sign(')'),
    Piece::Sign(']'),
];

fn is_test_mark(tokens: &[Token<'_>]) -> bool {
    tokens.len() >= TEST_MARK.len() && tokens.iter().zip(TEST_MARK).all(|(token, piece)| token.piece == piece)
}

/// Behind the first block, or the first semicolon if that comes before any block.
fn end_of_item(tokens: &[Token<'_>], start: usize) -> usize {
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate().skip(start) {
        match token.piece {
            Piece::Sign('{') => depth += 1,
            Piece::Sign('}') if depth == 1 => return index + 1,
            Piece::Sign('}') => depth -= 1,
            Piece::Sign(';') if depth == 0 => return index + 1,
            _ => {}
        }
    }
    tokens.len()
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    tokens: Vec<Token<'a>>,
}

impl<'a> Reader<'a> {
    fn step(&mut self) {
        let rest = &self.text[self.at..];
        let first = rest.chars().next().expect("there is text left");
        if first.is_whitespace() {
            self.skip(first.len_utf8());
        } else if rest.starts_with("//") {
            self.skip(rest.find('\n').unwrap_or(rest.len()));
        } else if rest.starts_with("/*") {
            self.skip(block_comment(rest));
        } else if let Some(length) = string(rest) {
            self.take(length, Piece::Quoted);
        } else if first == '\'' || rest.starts_with("b'") {
            let prefix = usize::from(first == 'b');
            self.take(prefix + character_or_lifetime(&rest[prefix..]), Piece::Quoted);
        } else if first.is_ascii_digit() {
            let after_point = self.tokens.last().is_some_and(|token| token.piece == Piece::Sign('.'));
            let length = number(rest, after_point);
            self.take(length, Piece::Number(&rest[..length]));
        } else if is_word(first) {
            let length = rest.find(|letter| !is_word(letter)).unwrap_or(rest.len());
            self.take(length, Piece::Word(&rest[..length]));
        } else if rest.starts_with("::") {
            self.take(2, Piece::Path);
        } else {
            self.take(first.len_utf8(), Piece::Sign(first));
        }
    }

    fn take(&mut self, length: usize, piece: Piece<'a>) {
        self.tokens.push(Token { piece, line: self.line });
        self.skip(length);
    }

    fn skip(&mut self, length: usize) {
        self.line += self.text[self.at..self.at + length].matches('\n').count();
        self.at += length;
    }
}

fn is_word(letter: char) -> bool {
    letter == '_' || letter.is_alphanumeric()
}

/// Block comments nest.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// The length of the string that starts here, with its prefix; `None` if none does.
fn string(rest: &str) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r", ""].into_iter().find(|prefix| {
        let behind = rest.strip_prefix(prefix).unwrap_or("");
        let fence = if prefix.ends_with('r') { behind.trim_start_matches('#') } else { behind };
        fence.starts_with('"')
    })?;
    let body = &rest[prefix.len()..];
    if prefix.ends_with('r') {
        let fence = body.find('"')?;
        let end = format!("\"{}", "#".repeat(fence));
        let length = body[fence + 1..].find(&end).map_or(body.len(), |at| fence + 1 + at + end.len());
        return Some(prefix.len() + length);
    }
    Some(prefix.len() + escaped(body, '"'))
}

/// From an opening quote to behind the closing one.
fn escaped(body: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, letter) in body.char_indices().skip(1) {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if letter == quote => return at + 1,
            _ => {}
        }
    }
    body.len()
}

fn character_or_lifetime(rest: &str) -> usize {
    let mut letters = rest.chars().skip(1);
    let (first, second) = (letters.next(), letters.next());
    if first == Some('\\') || second == Some('\'') {
        return escaped(rest, '\'');
    }
    rest[1..].find(|letter| !is_word(letter)).map_or(rest.len(), |at| at + 1)
}

/// `0..5` and `pair.0.1` aren't floats, `1.5`, `1.` and `1e9` are.
fn number(rest: &str, after_point: bool) -> usize {
    let digits =
        |from: usize| rest[from..].find(|letter| !is_word(letter)).map_or(rest.len(), |at| from + at);
    let end = digits(0);
    if after_point || !rest[end..].starts_with('.') {
        return signed_power(rest, end);
    }
    match rest[end + 1..].chars().next() {
        Some(next) if next.is_ascii_digit() => signed_power(rest, digits(end + 1)),
        Some(next) if next == '.' || is_word(next) => end,
        _ => end + 1,
    }
}

/// The sign inside of `1e-9`.
fn signed_power(rest: &str, end: usize) -> usize {
    let text = &rest[..end];
    if !text.starts_with("0x") && text.ends_with(['e', 'E']) && rest[end..].starts_with(['+', '-']) {
        return rest[end + 1..].find(|letter| !is_word(letter)).map_or(rest.len(), |at| end + 1 + at);
    }
    end
}

pub(super) fn is_float(number: &str) -> bool {
    if number.starts_with("0x") || number.starts_with("0b") || number.starts_with("0o") {
        return false;
    }
    let has_power = number.trim_end_matches("usize").trim_end_matches("isize").contains(['e', 'E']);
    number.contains('.') || has_power || number.ends_with("f32") || number.ends_with("f64")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let words = tokens(text).into_iter().filter_map(|token| match token.piece {
            Piece::Word(word) => Some(format!("{word}:{}", token.line)),
            _ => None,
        });
        words.collect()
    }

    #[test]
    fn comments_and_strings_hold_no_words() {
        let text =
            "a // b\n/* c /* d */ e */ f \"g \\\" h\" r#\"i \" j\"# b'k' 'l' '\\'' m: &'n o br\"p\" b\"q\"";
        assert_eq!(words(text), ["a:1", "f:2", "m:2", "o:2"]);
        assert_eq!(words("\"two\nlines\"\nnext"), ["next:3"]);
        assert_eq!(words("raw r#type"), ["raw:1", "r:1", "type:1"]);
    }

    #[test]
    fn floats_are_told_from_ranges_fields_and_hex() {
        let floats = |text: &str| -> Vec<String> {
            let pieces = tokens(text).into_iter().filter_map(|token| match token.piece {
                Piece::Number(number) if is_float(number) => Some(number.to_owned()),
                _ => None,
            });
            pieces.collect()
        };
        assert_eq!(
            floats("0..5 0..=9 pair.0.1 0x1e3 1_000 7usize 1.max(2) 0b1 [1, 2]"),
            Vec::<String>::new()
        );
        assert_eq!(
            floats("1.5 + 2e9 - 3e-4 * 4f64 / 5. + 1.0e+3"),
            ["1.5", "2e9", "3e-4", "4f64", "5.", "1.0e+3"]
        );
    }

    #[test]
    fn test_modules_can_be_left_out() {
        let text = "use a;\n#[cfg(test)]\nmod tests { use b; fn c() {} }\n#[cfg(test)]\nuse d;\nfn e() {}";
        let kept: Vec<&str> = without_tests(&tokens(text))
            .into_iter()
            .filter_map(|token| match token.piece {
                Piece::Word(word) => Some(word),
                _ => None,
            })
            .collect();
        assert_eq!(kept, ["use", "a", "fn", "e"]);
    }
}
