//! How deep a source nests, without recursion: what must be known before a recursive parser may see it.
//!
//! The scanner reads tokens as the parser would. It counts brackets, and between two brackets every operator and every keyword that
//! lets something nest without one (`!!!x`, `a = b = c`, `if (a) if (b)`), until a comma or a statement's end. Where a `/` may begin
//! a regular expression or divide, which only a parser knows, it goes on both ways until they come together again: a hostile source
//! gains nothing by making them differ.
//!
//! # Invariants
//!
//! - What passes nests no deeper than [`NESTING_LIMIT`], give or take a small factor, on every reading of its slashes.
//! - The time is linear in the source: clones of the scanner are paid from a budget.
//! - What does not pass for another reason is no program: its brackets, strings, comments or templates do not close.

/// Brackets and operators that may be open at one place. The guest's own parser gives up long before.
pub const NESTING_LIMIT: u32 = 10_000;

/// How many readings of one source may be under way.
const READINGS_LIMIT: usize = 16;

/// Bytes that are read again, because the parser tries parentheses as parameters first, at each of them anew: so many for each byte
/// of the source…
const RETRIED_PER_BYTE: u64 = 8;
/// … and so many more.
const RETRIED_BYTES: u64 = 1 << 20;

/// Why a source cannot be parsed.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Byte offset.
    pub at: usize,
    pub what: &'static str,
    /// Whether everything before the place may be shown to the parser: it may know better what is wrong.
    pub is_syntax: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Bracket {
    Paren,
    /// After `if`, `for`, `while` or `with`: a statement follows.
    Head,
    Square,
    Brace,
    /// `${` in a template.
    Substitution,
}

/// What stands before, as far as it matters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Before {
    /// Nothing, or a statement's `;`.
    Statement,
    /// An operand must follow.
    Operator,
    Comma,
    Colon,
    /// `.` and `?.`.
    Dot,
    /// `)` of a head.
    Head,
    /// `else` and `do`.
    Branch,
    /// An operand ends here.
    Operand,
    /// A name that is not reserved, or may end a statement: `break`.
    Name,
    /// `async`: what follows may still be part of the expression.
    Async,
    /// `yield`, `await`, `of`: operators or names.
    Contextual,
    /// `}`, `++`, `--`: of a block or an expression, before or after its operand.
    CloseBrace,
    Increment,
    /// `if`, `while`, `with`, `for`: a head follows.
    Keyword,
    /// `for await`.
    ForAwait,
}

#[derive(Clone)]
struct Level {
    bracket: Bracket,
    /// A `(` that may turn out to hold parameters.
    tried: bool,
    /// What nests until the next `;`, until the next `,`, and until the bracket closes.
    statement: u32,
    expression: u32,
    sticky: u32,
}

impl Level {
    fn new(bracket: Bracket, tried: bool) -> Level {
        Level { bracket, tried, statement: 0, expression: 0, sticky: 0 }
    }
}

#[derive(Clone)]
struct Reading {
    at: usize,
    levels: Vec<Level>,
    /// All that nests here.
    depth: u32,
    /// Open `(` that may hold parameters.
    tried: u32,
    retried: u64,
    before: Before,
    /// Before that.
    earlier: Before,
    /// A line ended since the last token.
    newline: bool,
    /// The statement may be over: whether it is, the next token tells.
    over: bool,
    /// A `(` was the last token, and may be tried.
    may_try: bool,
}

enum Step {
    On,
    /// A `/` that may be both; the other reading.
    Both(Box<Reading>),
    End,
    Dead(Refusal),
}

/// Scans a source and says how deep it nests. `html_comments` is for scripts, which may have them.
pub fn check(source: &str, html_comments: bool) -> Result<u32, Refusal> {
    let text = Text { bytes: source.as_bytes(), source, html_comments };
    let mut readings = vec![Reading::new(text.hashbang())];
    let mut budget = source.len() as u64 * 8 + (1 << 20);
    let mut died: Option<Refusal> = None;
    let mut ended = false;
    let mut deepest = 0;
    let retries = source.len() as u64 * RETRIED_PER_BYTE + RETRIED_BYTES;
    while !readings.is_empty() {
        let first = (0..readings.len()).min_by_key(|n| readings[*n].at).expect("not empty");
        let reading = &mut readings[first];
        let from = reading.at;
        let step = reading.step(&text);
        deepest = reading.depth.max(deepest);
        if deepest > NESTING_LIMIT {
            return Err(Refusal { at: from, what: "The source nests too deep", is_syntax: false });
        }
        if reading.retried > retries {
            return Err(Refusal { at: from, what: "Parentheses nest too deep for so long a source", is_syntax: false });
        }
        let ambiguous = Refusal {
            at: from,
            what: "Too many slashes may be divisions or regular expressions: write parentheses",
            is_syntax: false,
        };
        match step {
            Step::On => {}
            Step::Both(other) => {
                let cost = other.levels.len() as u64 + 1;
                if readings.len() == READINGS_LIMIT || budget < cost {
                    return Err(ambiguous);
                }
                budget -= cost;
                readings.push(*other);
            }
            Step::End => {
                ended = true;
                readings.swap_remove(first);
            }
            Step::Dead(refusal) => {
                if died.as_ref().is_none_or(|earlier| earlier.at < refusal.at) {
                    died = Some(refusal);
                }
                readings.swap_remove(first);
            }
        }
        while readings.len() > 1 {
            let Some((one, other)) = same(&readings) else { break };
            let cost = readings[one].levels.len() as u64 + 1;
            if budget < cost {
                return Err(ambiguous);
            }
            budget -= cost;
            if !merge(&mut readings, one, other) {
                break;
            }
        }
    }
    match died {
        Some(refusal) if !ended => Err(refusal),
        _ => Ok(deepest),
    }
}

fn same(readings: &[Reading]) -> Option<(usize, usize)> {
    let key = |reading: &Reading| {
        (reading.at, reading.levels.len(), reading.before, reading.earlier, reading.newline, reading.over, reading.may_try)
    };
    for one in 0..readings.len() {
        for other in one + 1..readings.len() {
            if key(&readings[one]) == key(&readings[other]) {
                return Some((one, other));
            }
        }
    }
    None
}

/// One reading for two that go on alike, with the larger counts.
fn merge(readings: &mut Vec<Reading>, one: usize, other: usize) -> bool {
    let alike = |a: &Level, b: &Level| a.bracket == b.bracket && a.tried == b.tried;
    if !readings[one].levels.iter().zip(&readings[other].levels).all(|(a, b)| alike(a, b)) {
        return false;
    }
    let gone = readings.swap_remove(other);
    let kept = &mut readings[one];
    for (a, b) in kept.levels.iter_mut().zip(&gone.levels) {
        a.statement = a.statement.max(b.statement);
        a.expression = a.expression.max(b.expression);
        a.sticky = a.sticky.max(b.sticky);
    }
    kept.depth = kept.levels.iter().map(|level| 1 + level.statement + level.expression + level.sticky).sum();
    kept.retried = kept.retried.max(gone.retried);
    true
}

struct Text<'a> {
    bytes: &'a [u8],
    source: &'a str,
    html_comments: bool,
}

impl Text<'_> {
    fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    fn hashbang(&self) -> usize {
        if self.bytes.starts_with(b"#!") { self.line_end(2) } else { 0 }
    }

    /// The bytes of the line's end at this place.
    fn line_terminator(&self, at: usize) -> usize {
        match self.byte(at) {
            b'\n' | b'\r' => 1,
            0xe2 if self.byte(at + 1) == 0x80 && matches!(self.byte(at + 2), 0xa8 | 0xa9) => 3,
            _ => 0,
        }
    }

    fn line_end(&self, mut at: usize) -> usize {
        while at < self.bytes.len() && self.line_terminator(at) == 0 {
            at += 1;
        }
        at
    }

    /// The byte after a string, if it ends.
    fn string(&self, from: usize) -> Option<usize> {
        let quote = self.bytes[from];
        let mut at = from + 1;
        while at < self.bytes.len() {
            match self.bytes[at] {
                b'\\' if self.byte(at + 1) == b'\r' && self.byte(at + 2) == b'\n' => at += 3,
                b'\\' => at += 2,
                b'\n' | b'\r' => return None,
                byte if byte == quote => return Some(at + 1),
                _ => at += 1,
            }
        }
        None
    }

    /// The byte after a stretch of a template, and whether a substitution begins there.
    fn template(&self, from: usize) -> Option<(usize, bool)> {
        let mut at = from;
        while at < self.bytes.len() {
            match self.bytes[at] {
                b'\\' => at += 2,
                b'`' => return Some((at + 1, false)),
                b'$' if self.byte(at + 1) == b'{' => return Some((at + 2, true)),
                _ => at += 1,
            }
        }
        None
    }

    /// The byte after a regular expression and its flags, if there is one.
    fn regex(&self, from: usize) -> Option<usize> {
        let mut at = from + 1;
        let mut class = false;
        while at < self.bytes.len() && self.line_terminator(at) == 0 {
            match self.bytes[at] {
                b'\\' if self.line_terminator(at + 1) > 0 => return None,
                b'\\' => at += 2,
                b'[' => (class, at) = (true, at + 1),
                b']' => (class, at) = (false, at + 1),
                b'/' if !class => return Some(self.word(at + 1)),
                _ => at += 1,
            }
        }
        None
    }

    /// The byte after the name that begins here.
    fn word(&self, mut at: usize) -> usize {
        loop {
            match self.byte(at) {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'$' => at += 1,
                b'\\' if self.byte(at + 1) == b'u' && self.byte(at + 2) == b'{' => {
                    at += 3;
                    while self.byte(at).is_ascii_hexdigit() {
                        at += 1;
                    }
                    at += usize::from(self.byte(at) == b'}');
                }
                b'\\' => at += 1,
                0x80.. if self.space(at) == 0 => at += 1,
                _ => return at,
            }
        }
    }

    /// The bytes of the white space here that is no line's end.
    fn space(&self, at: usize) -> usize {
        match self.byte(at) {
            b' ' | b'\t' | 0x0b | 0x0c => 1,
            0xc0.. => match self.source.get(at..).and_then(|rest| rest.chars().next()) {
                Some(c) if (c.is_whitespace() && c != '\u{85}') || c == '\u{feff}' => c.len_utf8(),
                _ => 0,
            },
            _ => 0,
        }
    }
}

impl Reading {
    fn new(at: usize) -> Reading {
        Reading {
            at,
            levels: vec![Level::new(Bracket::Brace, false)],
            depth: 1,
            tried: 0,
            retried: 0,
            before: Before::Statement,
            earlier: Before::Statement,
            newline: true,
            over: false,
            may_try: false,
        }
    }

    fn level(&mut self) -> &mut Level {
        self.levels.last_mut().expect("the outermost is never closed")
    }

    fn expression(&mut self) {
        self.level().expression += 1;
        self.depth += 1;
    }

    fn statement(&mut self) {
        self.level().statement += 1;
        self.depth += 1;
    }

    fn sticky(&mut self) {
        self.level().sticky += 1;
        self.depth += 1;
    }

    fn end_expression(&mut self) {
        self.depth -= std::mem::take(&mut self.level().expression);
    }

    fn end_statement(&mut self) {
        self.end_expression();
        self.depth -= std::mem::take(&mut self.level().statement);
    }

    fn put(&mut self, before: Before) {
        self.earlier = self.before;
        self.before = before;
        self.newline = false;
    }

    /// White space and comments; whether they end.
    fn skip(&mut self, text: &Text) -> Result<(), Refusal> {
        loop {
            let terminator = text.line_terminator(self.at);
            let space = text.space(self.at);
            if terminator > 0 {
                self.newline = true;
                self.at += terminator;
            } else if space > 0 {
                self.at += space;
            } else if text.byte(self.at) == b'/' && text.byte(self.at + 1) == b'/' {
                self.at = text.line_end(self.at);
            } else if text.byte(self.at) == b'/' && text.byte(self.at + 1) == b'*' {
                let from = self.at;
                self.at += 2;
                loop {
                    match text.byte(self.at) {
                        b'*' if text.byte(self.at + 1) == b'/' => break,
                        _ if self.at >= text.bytes.len() => {
                            return Err(Refusal { at: from, what: "Unterminated comment", is_syntax: true });
                        }
                        _ => {
                            self.newline |= text.line_terminator(self.at) > 0;
                            self.at += 1;
                        }
                    }
                }
                self.at += 2;
            } else if text.html_comments
                && (text.bytes[self.at.min(text.bytes.len())..].starts_with(b"<!--")
                    || self.newline && text.bytes[self.at.min(text.bytes.len())..].starts_with(b"-->"))
            {
                self.at = text.line_end(self.at);
            } else {
                return Ok(());
            }
        }
    }

    fn step(&mut self, text: &Text) -> Step {
        let from = self.at;
        let step = match self.skip(text) {
            Ok(()) => self.token(text),
            Err(refusal) => Step::Dead(refusal),
        };
        self.retried += u64::from(self.tried) * (self.at.saturating_sub(from)) as u64;
        step
    }

    fn token(&mut self, text: &Text) -> Step {
        if self.at >= text.bytes.len() {
            return Step::End;
        }
        let start = self.at;
        let byte = text.bytes[start];
        let may_try = std::mem::take(&mut self.may_try);
        // A parenthesis that begins like this may hold parameters.
        if may_try && (matches!(byte, b'{' | b'[' | b'.' | b')' | b'\\' | b'_' | b'$' | 0x80..) || byte.is_ascii_alphabetic()) {
            self.level().tried = true;
            self.tried += 1;
        }
        let over = std::mem::take(&mut self.over);
        let dead = |what| Step::Dead(Refusal { at: start, what, is_syntax: true });
        match byte {
            b'<' if self.newline && text.bytes[start..].starts_with(b"<!--") => {
                return dead("HTML comments are not allowed in modules");
            }
            b'@' => return dead("Decorators are not supported"),
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'$' | b'\\' | b'#' | 0x80.. => {
                self.at = text.word(start + usize::from(byte == b'#'));
                if self.at == start {
                    return dead("Unexpected character");
                }
                self.name(&text.bytes[start..self.at], over);
            }
            b'0'..=b'9' => self.number(text, over),
            b'.' if text.byte(start + 1).is_ascii_digit() => self.number(text, over),
            b'"' | b'\'' => {
                let Some(end) = text.string(start) else { return dead("Unterminated string") };
                self.operand_begins(over);
                self.at = end;
                self.put(Before::Operand);
            }
            b'`' => {
                let Some((end, substitution)) = text.template(start + 1) else { return dead("Unterminated template") };
                if over {
                    self.end_statement();
                }
                self.at = end;
                self.after_template(substitution);
            }
            b'(' | b'[' | b'{' => {
                if over && (byte == b'{' || self.before == Before::Statement) {
                    self.end_statement();
                }
                let head = matches!(self.before, Before::Keyword | Before::ForAwait);
                let (bracket, try_it) = match byte {
                    b'(' if head => (Bracket::Head, false),
                    b'(' => (Bracket::Paren, self.before != Before::Operand && (self.before != Before::Name || self.newline)),
                    b'[' => (Bracket::Square, false),
                    _ => (Bracket::Brace, false),
                };
                self.at += 1;
                self.open(bracket);
                self.may_try = try_it;
                self.put(if byte == b'{' { Before::Statement } else { Before::Operator });
            }
            b')' | b']' | b'}' => {
                let fits = |open: Bracket| match byte {
                    b')' => matches!(open, Bracket::Paren | Bracket::Head),
                    b']' => open == Bracket::Square,
                    _ => matches!(open, Bracket::Brace | Bracket::Substitution),
                };
                if self.levels.len() == 1 || !fits(self.level().bracket) {
                    return dead("Unexpected closing bracket");
                }
                let closed = self.levels.pop().expect("more than one");
                self.depth -= 1 + closed.statement + closed.expression + closed.sticky;
                self.tried -= u32::from(closed.tried);
                self.at += 1;
                match closed.bracket {
                    Bracket::Substitution => {
                        let Some((end, substitution)) = text.template(self.at) else { return dead("Unterminated template") };
                        self.at = end;
                        self.after_template(substitution);
                    }
                    Bracket::Head => self.put(Before::Head),
                    Bracket::Brace => {
                        self.put(Before::CloseBrace);
                        self.over = true;
                    }
                    Bracket::Paren | Bracket::Square => {
                        self.expression();
                        self.put(Before::Operand);
                    }
                }
            }
            b';' => {
                self.end_expression();
                self.at += 1;
                self.put(Before::Statement);
                self.over = true;
            }
            b',' => {
                self.end_expression();
                self.at += 1;
                self.put(Before::Comma);
            }
            b':' => {
                let label = matches!(
                    self.earlier,
                    Before::Statement | Before::Colon | Before::Head | Before::Branch | Before::CloseBrace
                );
                if label && matches!(self.before, Before::Name | Before::Contextual | Before::Async) {
                    self.statement();
                }
                self.at += 1;
                self.put(Before::Colon);
            }
            b'/' => return self.slash(text, over),
            b'?' if text.byte(start + 1) == b'.' && !text.byte(start + 2).is_ascii_digit() => {
                self.at += 2;
                self.expression();
                self.put(Before::Dot);
            }
            b'.' => {
                let spread = text.bytes[start..].starts_with(b"...");
                self.at += if spread { 3 } else { 1 };
                self.expression();
                self.put(if spread { Before::Operator } else { Before::Dot });
            }
            b'+' | b'-' if text.byte(start + 1) == byte => {
                if over && self.before == Before::Statement {
                    self.end_statement();
                }
                self.at += 2;
                self.expression();
                self.put(Before::Increment);
            }
            b'!' | b'~' | b'+' | b'-' | b'*' | b'%' | b'&' | b'|' | b'^' | b'=' | b'<' | b'>' | b'?' => {
                if over && (self.before == Before::Statement || byte == b'!' || byte == b'~') && text.byte(start + 1) != b'=' {
                    self.end_statement();
                }
                self.at += 1;
                self.expression();
                self.put(Before::Operator);
            }
            _ => return dead("Unexpected character"),
        }
        Step::On
    }

    fn open(&mut self, bracket: Bracket) {
        self.levels.push(Level::new(bracket, false));
        self.depth += 1;
    }

    fn after_template(&mut self, substitution: bool) {
        if substitution {
            self.open(Bracket::Substitution);
            self.put(Before::Operator);
        } else {
            self.expression();
            self.put(Before::Operand);
        }
    }

    /// An operand right after another one begins a statement, if there is a line's end between them.
    fn operand_begins(&mut self, over: bool) {
        if over || self.newline && matches!(self.before, Before::Operand | Before::Name | Before::CloseBrace) {
            self.end_statement();
        }
    }

    fn number(&mut self, text: &Text, over: bool) {
        self.operand_begins(over);
        while matches!(text.byte(self.at), b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'.') {
            self.at += 1;
        }
        self.put(Before::Operand);
    }

    fn name(&mut self, name: &[u8], over: bool) {
        if self.before == Before::Dot {
            return self.put(Before::Operand);
        }
        let goes_on: &[&[u8]] = &[b"else", b"while", b"catch", b"finally", b"in", b"instanceof", b"of", b"from", b"as", b"with"];
        if !goes_on.contains(&name) {
            self.operand_begins(over);
        } else if over && self.before == Before::Statement && name != b"else" && name != b"while" {
            self.end_statement();
        }
        let before = match name {
            b"case" | b"default" => {
                if name == b"case" || self.before != Before::Operator {
                    self.end_statement();
                }
                Before::Operator
            }
            b"if" | b"while" | b"with" | b"for" => {
                self.statement();
                Before::Keyword
            }
            b"else" => {
                self.statement();
                Before::Branch
            }
            // `do x; while (y)` and `extends {} {` go on after what else ends a statement.
            b"do" => {
                self.sticky();
                Before::Branch
            }
            b"extends" => {
                self.sticky();
                Before::Operator
            }
            b"return" | b"typeof" | b"in" | b"instanceof" | b"new" | b"void" | b"delete" | b"throw" => {
                self.expression();
                Before::Operator
            }
            // What they begin goes on in the next line.
            b"function" | b"class" => Before::Operator,
            b"await" if self.before == Before::Keyword => Before::ForAwait,
            b"yield" | b"await" | b"of" => {
                self.expression();
                Before::Contextual
            }
            b"async" => Before::Async,
            _ => Before::Name,
        };
        self.put(before);
    }

    fn slash(&mut self, text: &Text, over: bool) -> Step {
        let start = self.at;
        let regex = text.regex(start);
        let (may_divide, may_match) = match self.before {
            Before::Operand => (true, false),
            // A statement may have ended with the line: `break label`, `var a`, `import 'x'`.
            Before::Name | Before::Async => (true, self.newline),
            Before::CloseBrace | Before::Increment | Before::Contextual => (true, true),
            Before::Dot => (true, false),
            _ => (false, true),
        };
        // Strings end statements too: `import 'x'`.
        let may_match = may_match || self.before == Before::Operand && self.newline;
        let other = match (may_divide, may_match, regex) {
            (true, true, Some(end)) => {
                let mut other = self.clone();
                other.matched(end, over);
                Some(other)
            }
            (false, _, Some(end)) => {
                self.matched(end, over);
                return Step::On;
            }
            (false, _, None) => {
                return Step::Dead(Refusal { at: start, what: "Unterminated regular expression", is_syntax: true });
            }
            _ => None,
        };
        self.at += 1;
        self.expression();
        self.put(Before::Operator);
        other.map_or(Step::On, |other| Step::Both(Box::new(other)))
    }

    fn matched(&mut self, end: usize, over: bool) {
        if over {
            self.end_statement();
        }
        self.at = end;
        self.put(Before::Operand);
    }
}
