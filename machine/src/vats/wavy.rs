//! Wavy dots: `x~.m(a)` and its like, rewritten to calls of `HandledPromise`.
//!
//! ```text
//! x~.m(a, b)      HandledPromise.applyMethod(x,"m",[a, b])      x~.p        HandledPromise.get(x,"p")
//! x~.[k](a)       HandledPromise.applyMethod(x,k,[a])           x~.[k]      HandledPromise.get(x,k)
//! x~.(a)          HandledPromise.applyFunction(x,[a])           x~.p = v    HandledPromise.set(x,"p",v)
//!                                                               delete x~.p HandledPromise.delete(x,"p")
//! ```
//!
//! `~.` binds like `.`, from left to right; before it there may be a line's end, after it a reserved word. `~.5` is what it always was.
//! An optional chain ends at a wavy dot: `a?.b~.c()` sends to whatever `a?.b` is. `new`, `super`, private names, templates, `++`,
//! compound and destructuring assignment do not go with it.
//!
//! The masked source is parsed ([`syntax`]), and what is found becomes edits of the original text.
//!
//! # Invariants
//!
//! - A source without wavy dots stays as it is, and is not even parsed.
//! - Every line stays in its line: what is replaced keeps its line ends.
//! - No `~.` is left in code, and none is touched elsewhere.

mod nesting;
pub mod syntax;
#[cfg(test)]
mod tests;

use oxc_ast::ast::{
    Argument, AssignmentExpression, AssignmentOperator, AssignmentTarget, CallExpression, ChainElement, ComputedMemberExpression,
    Directive, Expression, NewExpression, PrivateFieldExpression, Program, RegExpLiteral, SimpleAssignmentTarget,
    StaticMemberExpression, StringLiteral, TaggedTemplateExpression, TemplateElement, UnaryExpression, UnaryOperator,
};
use oxc_ast_visit::{Visit, walk};
use oxc_span::{GetSpan, Span};
use std::borrow::Cow;
pub use syntax::{Kind, SyntaxError};
use syntax::{Masked, blank_end, is_line_end};

/// The source with its wavy dots rewritten.
pub fn rewrite(source: &str, kind: Kind) -> Result<Cow<'_, str>, SyntaxError> {
    Ok(Rewrite::of(source, kind)?.map_or(Cow::Borrowed(source), |rewrite| Cow::Owned(rewrite.source)))
}

/// Whether the wavy dots of a source that was parsed are in their places.
pub(super) fn check(source: &str, program: &Program<'_>, masked: &Masked) -> Result<(), SyntaxError> {
    if masked.marks.is_empty() { Ok(()) } else { Finder::new(source, program, masked).find(program).map(drop) }
}

/// A rewritten source, and the way back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrite {
    /// What to evaluate.
    pub source: String,
    /// Where it differs, in order.
    pub edits: Vec<Edit>,
}

/// A stretch of a line that was replaced. Lines and columns from 1, columns in bytes, as QuickJS has them in stack traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edit {
    /// In both texts.
    pub line: u32,
    /// In the rewritten one.
    pub column: u32,
    /// In the rewritten one.
    pub bytes: u32,
    /// In the original.
    pub original_column: u32,
    /// In the original.
    pub original_bytes: u32,
}

impl Rewrite {
    /// Of a source in which there is nothing to rewrite.
    pub fn none(source: &str) -> Rewrite {
        Rewrite { source: source.to_owned(), edits: Vec::new() }
    }

    /// Rewrites a source, if there is anything to rewrite.
    pub fn of(source: &str, kind: Kind) -> Result<Option<Rewrite>, SyntaxError> {
        if !syntax::is_wavy(source) {
            return Ok(None);
        }
        let edits = syntax::parse(source, kind, |program, masked| Finder::new(source, program, masked).find(program))?;
        Ok((!edits.is_empty()).then(|| apply(source, edits)))
    }

    /// Where in the original a place of the rewritten text was. What was put in is where it was put.
    pub fn column(&self, line: u32, column: u32) -> u32 {
        let after = self.edits.partition_point(|edit| (edit.line, edit.column) <= (line, column));
        // Of those at one column, only the last may be as long as something.
        match after.checked_sub(1).map(|last| self.edits[last]) {
            Some(edit) if edit.line == line => match (column - edit.column).checked_sub(edit.bytes) {
                Some(beyond) => edit.original_column + edit.original_bytes + beyond,
                None => edit.original_column,
            },
            _ => column,
        }
    }
}

/// Bytes of the original, and what stands there instead.
struct Replacement {
    from: usize,
    to: usize,
    text: String,
    /// It ends an assignment, and takes no room.
    ends: bool,
}

fn apply(source: &str, mut replacements: Vec<Replacement>) -> Rewrite {
    // Of two at the same place, the outer was found first and begins first; but what ends there ends before that.
    replacements.sort_by_key(|replacement| (replacement.from, !replacement.ends));
    let mut result = String::with_capacity(source.len() + source.len() / 4);
    let mut edits = Vec::new();
    let (mut at, mut line, mut column, mut original) = (0, 1, 1, 1);
    for Replacement { from, to, text, .. } in replacements {
        let kept = &source[at..from];
        result.push_str(kept);
        let mut chars = kept.chars().peekable();
        while let Some(c) = chars.next() {
            (column, original) = (column + c.len_utf8() as u32, original + c.len_utf8() as u32);
            if is_line_end(c) && !(c == '\r' && chars.peek() == Some(&'\n')) {
                (line, column, original) = (line + 1, 1, 1);
            }
        }
        result.push_str(&text);
        let gone = &source[from..to];
        let mut edit = Edit { line, column, bytes: text.len() as u32, original_column: original, original_bytes: 0 };
        column += edit.bytes;
        // What goes over several lines keeps their ends, after what was put in.
        let mut rest = gone.chars().peekable();
        while let Some(c) = rest.next() {
            if !is_line_end(c) {
                edit.original_bytes += c.len_utf8() as u32;
                original += c.len_utf8() as u32;
                continue;
            }
            result.push(c);
            if c == '\r' && rest.peek() == Some(&'\n') {
                rest.next();
                result.push('\n');
            }
            edits.push(edit);
            (line, column, original) = (line + 1, 1, 1);
            edit = Edit { line, column, bytes: 0, original_column: original, original_bytes: 0 };
        }
        edits.push(edit);
        at = to;
    }
    result.push_str(&source[at..]);
    Rewrite { source: result, edits }
}

/// Finds what the marks belong to.
struct Finder<'s> {
    source: &'s str,
    masked: &'s Masked,
    /// Marks in code, ascending, and whether it is known what they belong to.
    marks: Vec<(u32, bool)>,
    /// Where text is no code.
    literals: Vec<Span>,
    replacements: Vec<Replacement>,
    error: Option<(usize, &'static str)>,
}

/// A member after a wavy dot.
struct Wavy<'b, 'a> {
    mark: u32,
    object: &'b Expression<'a>,
    key: Key<'b, 'a>,
    /// The whole.
    span: Span,
}

enum Key<'b, 'a> {
    Name(&'b str),
    Computed(&'b Expression<'a>),
}

const ONLY_ASSIGNED: &str = "A property after `~.` can be set with `=` only";

impl<'s> Finder<'s> {
    fn new(source: &'s str, program: &Program<'_>, masked: &'s Masked) -> Finder<'s> {
        let mut comments: Vec<Span> = program.comments.iter().map(|comment| comment.span).collect();
        comments.extend(program.hashbang.as_ref().map(|hashbang| hashbang.span));
        comments.sort_by_key(|span| span.start);
        let marks = masked.marks.iter().filter(|mark| !within(&comments, **mark)).map(|mark| (*mark, false)).collect();
        Finder { source, masked, marks, literals: Vec::new(), replacements: Vec::new(), error: None }
    }

    fn find(mut self, program: &Program<'_>) -> Result<Vec<Replacement>, SyntaxError> {
        self.visit_program(program);
        self.literals.sort_by_key(|span| span.start);
        let stray =
            self.marks.iter().find(|(mark, known)| !known && !within(&self.literals, *mark)).map(|(mark, _)| *mark as usize);
        let stray = stray.map(|mark| (mark, "Unexpected `~.`"));
        match self.error.into_iter().chain(stray).min_by_key(|(at, _)| *at) {
            Some((at, message)) => Err(SyntaxError::at(self.source, at, message)),
            None => Ok(self.replacements),
        }
    }

    fn refuse(&mut self, at: u32, message: &'static str) {
        let at = at as usize;
        if self.error.is_none_or(|(earlier, _)| at < earlier) {
            self.error = Some((at, message));
        }
    }

    /// The mark between two places, if there is one.
    fn mark(&self, from: u32, to: u32) -> Option<u32> {
        let first = self.marks.partition_point(|(mark, _)| *mark < from);
        self.marks.get(first).map(|(mark, _)| *mark).filter(|mark| *mark < to)
    }

    fn known(&mut self, mark: u32) {
        if let Ok(at) = self.marks.binary_search_by_key(&mark, |(mark, _)| *mark) {
            self.marks[at].1 = true;
        }
    }

    fn static_member<'b, 'a>(&self, it: &'b StaticMemberExpression<'a>) -> Option<Wavy<'b, 'a>> {
        let mark = self.mark(it.object.span().end, it.property.span.start)?;
        Some(Wavy { mark, object: &it.object, key: Key::Name(it.property.name.as_str()), span: it.span })
    }

    fn computed_member<'b, 'a>(&self, it: &'b ComputedMemberExpression<'a>) -> Option<Wavy<'b, 'a>> {
        let mark = self.mark(it.object.span().end, it.expression.span().start)?;
        // `x[~.y]` is none.
        let bracket = blank_end(&self.masked.text, it.object.span().end as usize);
        (bracket > mark as usize).then_some(Wavy { mark, object: &it.object, key: Key::Computed(&it.expression), span: it.span })
    }

    fn member<'b, 'a>(&self, it: &'b Expression<'a>) -> Option<Wavy<'b, 'a>> {
        match it {
            Expression::StaticMemberExpression(it) => self.static_member(it),
            Expression::ComputedMemberExpression(it) => self.computed_member(it),
            _ => None,
        }
    }

    fn target<'b, 'a>(&self, it: &'b SimpleAssignmentTarget<'a>) -> Option<Wavy<'b, 'a>> {
        match it {
            SimpleAssignmentTarget::StaticMemberExpression(it) => self.static_member(it),
            SimpleAssignmentTarget::ComputedMemberExpression(it) => self.computed_member(it),
            _ => None,
        }
    }

    /// The mark between a function and its arguments, and the place after their bracket.
    fn arguments(&self, it: &CallExpression<'_>) -> (Option<u32>, usize) {
        let end = it.callee.span().end;
        let mut open = blank_end(&self.masked.text, end as usize);
        if it.optional {
            open = blank_end(&self.masked.text, open + 2);
        }
        (self.mark(end, open as u32), open + 1)
    }

    fn put(&mut self, from: usize, to: usize, text: String) {
        self.replacements.push(Replacement { from, to, text, ends: false });
    }

    /// What stands before the receiver, from where it is replaced.
    fn open(&mut self, from: u32, receiver: Span, method: &str) {
        let before = self.source[..from as usize].chars().next_back();
        let space = if before.is_some_and(|c| c.is_alphanumeric() || "_$".contains(c)) { " " } else { "" };
        self.put(from as usize, receiver.start as usize, format!("{space}HandledPromise.{method}("));
    }

    /// From the receiver's end to `to`: the key.
    fn key(&mut self, wavy: &Wavy<'_, '_>, to: usize, then: &str) {
        let from = wavy.object.span().end as usize;
        match &wavy.key {
            Key::Name(name) => self.put(from, to, format!(",\"{name}\"{then}")),
            Key::Computed(key) => {
                let sequence = matches!(key, Expression::SequenceExpression(_));
                let span = key.span();
                self.put(from, span.start as usize, (if sequence { ",(" } else { "," }).to_owned());
                self.put(span.end as usize, to, format!("{}{then}", if sequence { ")" } else { "" }));
            }
        }
    }

    fn receiver(&mut self, mark: u32, object: &Expression<'_>) {
        self.known(mark);
        if matches!(object, Expression::Super(_)) {
            self.refuse(mark, "`super` cannot be sent to: use `this`");
        }
    }

    /// `x~.p` and `x~.[k]`, whose value is asked for.
    fn get<'a>(&mut self, wavy: &Wavy<'_, 'a>) {
        self.receiver(wavy.mark, wavy.object);
        self.open(wavy.span.start, wavy.object.span(), "get");
        self.key(wavy, wavy.span.end as usize, ")");
        self.inside(wavy);
    }

    /// Goes on with the receiver and the key.
    fn inside<'a>(&mut self, wavy: &Wavy<'_, 'a>) {
        self.visit_expression(wavy.object);
        if let Key::Computed(key) = wavy.key {
            self.visit_expression(key);
        }
    }

    fn visit_all<'a>(&mut self, arguments: &[Argument<'a>]) {
        for argument in arguments {
            self.visit_argument(argument);
        }
    }
}

fn within(spans: &[Span], offset: u32) -> bool {
    let after = spans.partition_point(|span| span.start <= offset);
    after > 0 && offset < spans[after - 1].end
}

/// Without its parentheses, and whatever an optional chain puts around it.
fn deletable<'b, 'a>(finder: &Finder<'_>, mut it: &'b Expression<'a>) -> Option<Wavy<'b, 'a>> {
    loop {
        it = match it {
            Expression::ParenthesizedExpression(inner) => &inner.expression,
            Expression::ChainExpression(chain) => {
                return match &chain.expression {
                    ChainElement::StaticMemberExpression(it) => finder.static_member(it),
                    ChainElement::ComputedMemberExpression(it) => finder.computed_member(it),
                    _ => None,
                };
            }
            _ => return finder.member(it),
        }
    }
}

impl<'a> Visit<'a> for Finder<'_> {
    fn visit_static_member_expression(&mut self, it: &StaticMemberExpression<'a>) {
        match self.static_member(it) {
            Some(wavy) => self.get(&wavy),
            None => walk::walk_static_member_expression(self, it),
        }
    }

    fn visit_computed_member_expression(&mut self, it: &ComputedMemberExpression<'a>) {
        match self.computed_member(it) {
            Some(wavy) => self.get(&wavy),
            None => walk::walk_computed_member_expression(self, it),
        }
    }

    fn visit_private_field_expression(&mut self, it: &PrivateFieldExpression<'a>) {
        if let Some(mark) = self.mark(it.object.span().end, it.field.span.start) {
            self.known(mark);
            self.refuse(mark, "A private name cannot be sent to");
        }
        walk::walk_private_field_expression(self, it);
    }

    fn visit_call_expression(&mut self, it: &CallExpression<'a>) {
        let (mark, open) = self.arguments(it);
        let close = it.span.end as usize - 1;
        if let Some(mark) = mark {
            self.receiver(mark, &it.callee);
            if it.optional {
                self.refuse(mark, "A call after `~.` cannot be optional");
            }
            self.open(it.span.start, it.callee.span(), "applyFunction");
            self.put(it.callee.span().end as usize, open, ",[".to_owned());
            self.put(close, close + 1, "])".to_owned());
            self.visit_expression(&it.callee);
        } else if let Some(wavy) = self.member(&it.callee) {
            self.receiver(wavy.mark, wavy.object);
            if it.optional {
                self.refuse(wavy.mark, "A call after `~.` cannot be optional");
            }
            self.open(it.span.start, wavy.object.span(), "applyMethod");
            self.key(&wavy, open, ",[");
            self.put(close, close + 1, "])".to_owned());
            self.inside(&wavy);
        } else {
            return walk::walk_call_expression(self, it);
        }
        self.visit_all(&it.arguments);
    }

    fn visit_assignment_expression(&mut self, it: &AssignmentExpression<'a>) {
        let wavy = match &it.left {
            AssignmentTarget::StaticMemberExpression(member) => self.static_member(member),
            AssignmentTarget::ComputedMemberExpression(member) => self.computed_member(member),
            _ => None,
        };
        let Some(wavy) = wavy.filter(|_| it.operator == AssignmentOperator::Assign) else {
            return walk::walk_assignment_expression(self, it);
        };
        self.receiver(wavy.mark, wavy.object);
        self.open(it.span.start, wavy.object.span(), "set");
        let value = it.right.span();
        self.key(&wavy, value.start as usize, ",");
        let end = value.end as usize;
        self.replacements.push(Replacement { from: end, to: end, text: ")".to_owned(), ends: true });
        self.inside(&wavy);
        self.visit_expression(&it.right);
    }

    fn visit_unary_expression(&mut self, it: &UnaryExpression<'a>) {
        let wavy = if it.operator == UnaryOperator::Delete { deletable(self, &it.argument) } else { None };
        let Some(wavy) = wavy else { return walk::walk_unary_expression(self, it) };
        self.receiver(wavy.mark, wavy.object);
        self.open(it.span.start, wavy.object.span(), "delete");
        self.key(&wavy, it.span.end as usize, ")");
        self.inside(&wavy);
    }

    /// Targets of all other assignments.
    fn visit_simple_assignment_target(&mut self, it: &SimpleAssignmentTarget<'a>) {
        if let Some(mark) = self.target(it).map(|wavy| wavy.mark) {
            self.refuse(mark, ONLY_ASSIGNED);
        }
        walk::walk_simple_assignment_target(self, it);
    }

    fn visit_new_expression(&mut self, it: &NewExpression<'a>) {
        let mut callee = &it.callee;
        loop {
            if let Some(wavy) = self.member(callee) {
                self.refuse(wavy.mark, "`new` cannot be sent: write parentheses around what is constructed");
            }
            callee = match callee {
                Expression::StaticMemberExpression(member) => &member.object,
                Expression::ComputedMemberExpression(member) => &member.object,
                _ => break,
            };
        }
        walk::walk_new_expression(self, it);
    }

    fn visit_tagged_template_expression(&mut self, it: &TaggedTemplateExpression<'a>) {
        if let Some(wavy) = self.member(&it.tag) {
            self.refuse(wavy.mark, "A template cannot be sent");
        }
        walk::walk_tagged_template_expression(self, it);
    }

    fn visit_string_literal(&mut self, it: &StringLiteral<'a>) {
        self.literals.push(it.span);
    }

    fn visit_template_element(&mut self, it: &TemplateElement<'a>) {
        self.literals.push(it.span);
    }

    fn visit_reg_exp_literal(&mut self, it: &RegExpLiteral<'a>) {
        self.literals.push(it.span);
    }

    fn visit_directive(&mut self, it: &Directive<'a>) {
        self.literals.push(it.span);
    }
}
