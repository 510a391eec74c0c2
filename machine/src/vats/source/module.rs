//! What is seen of a module without running it: its imports, and which dialect of vats it speaks.

use crate::vats::wavy::{self, Kind, SyntaxError, syntax};
use oxc_ast::ast::{
    BindingPattern, Declaration, ExportDefaultDeclarationKind, Expression, FormalParameters, ImportExpression, Program,
    Statement, StringLiteral, WithClause,
};
use oxc_ast_visit::{Visit, walk};
use std::collections::BTreeMap;

/// A module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// In the order of the text.
    pub imports: Vec<Import>,
    /// How a vat of it would be built.
    pub dialect: Dialect,
}

/// An import, or an export from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// What follows `from`.
    pub specifier: String,
    /// From 1.
    pub line: u32,
    /// How.
    pub form: Form,
}

/// Forms of import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A declaration.
    Static,
    /// `import('…')`. One whose specifier is computed is not seen.
    Dynamic,
    /// With attributes, or for a phase: of something that is no module.
    Foreign,
}

/// How a vat is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// 2019: the default export is a function, `setup`.
    Setup,
    /// 2019: `buildRootObject(E, D)`.
    Early,
    /// `buildRootObject(vatPowers, vatParameters, baggage)`.
    Today,
    /// What decides is computed or imported: to be seen when it runs.
    Unknown,
}

impl Dialect {
    /// Whether it is known to be one of 2019's.
    pub fn is_of_2019(self) -> bool {
        matches!(self, Dialect::Setup | Dialect::Early)
    }
}

impl Module {
    /// Of a source, which may have wavy dots.
    pub fn read(source: &str) -> Result<Module, SyntaxError> {
        let (imports, dialect) = syntax::parse(source, Kind::Module, |program, masked| {
            wavy::check(source, program, masked)?;
            let mut imports = Imports::default();
            imports.visit_program(program);
            Ok((imports.found, Exports::of(program).dialect()))
        })?;
        let imports = imports.into_iter().map(|(at, specifier, form)| Import {
            specifier,
            line: SyntaxError::at(source, at as usize, "").line,
            form,
        });
        Ok(Module { imports: imports.collect(), dialect })
    }
}

/// The dialect of a module's source.
pub fn dialect(source: &str) -> Result<Dialect, SyntaxError> {
    Ok(Module::read(source)?.dialect)
}

#[derive(Default)]
struct Imports {
    found: Vec<(u32, String, Form)>,
}

impl Imports {
    fn add(&mut self, source: &StringLiteral<'_>, foreign: bool) {
        let form = if foreign { Form::Foreign } else { Form::Static };
        self.found.push((source.span.start, source.value.to_string(), form));
    }
}

fn has_attributes(clause: Option<&WithClause<'_>>) -> bool {
    clause.is_some_and(|clause| !clause.with_entries.is_empty())
}

impl<'a> Visit<'a> for Imports {
    fn visit_statement(&mut self, it: &Statement<'a>) {
        match it {
            Statement::ImportDeclaration(it) => {
                self.add(&it.source, it.phase.is_some() || has_attributes(it.with_clause.as_deref()));
            }
            Statement::ExportAllDeclaration(it) => self.add(&it.source, has_attributes(it.with_clause.as_deref())),
            Statement::ExportFromDeclaration(it) => self.add(&it.source, has_attributes(it.with_clause.as_deref())),
            _ => walk::walk_statement(self, it),
        }
    }

    fn visit_import_expression(&mut self, it: &ImportExpression<'a>) {
        let specifier = match &it.source {
            Expression::StringLiteral(literal) => Some(literal.value.to_string()),
            Expression::TemplateLiteral(template) => template.single_quasi().map(|text| text.to_string()),
            _ => None,
        };
        if let Some(specifier) = specifier {
            self.found.push((it.span.start, specifier, Form::Dynamic));
        }
        walk::walk_import_expression(self, it);
    }
}

/// What a name of the module stands for.
#[derive(Clone, Copy)]
enum Value {
    Function {
        first_is_e: bool,
    },
    /// No function for sure.
    Other,
    Unknown,
}

/// What a module exports, as far as dialects go.
struct Exports<'b> {
    values: BTreeMap<&'b str, Value>,
    default: Option<Value>,
    build_root_object: Option<Value>,
    /// Names that are exported as these two.
    default_local: Option<&'b str>,
    build_root_object_local: Option<&'b str>,
    /// `export *`, `export const { … } =`.
    anything: bool,
}

impl<'b> Exports<'b> {
    fn of(program: &'b Program<'_>) -> Exports<'b> {
        let mut exports = Exports {
            values: BTreeMap::new(),
            default: None,
            build_root_object: None,
            default_local: None,
            build_root_object_local: None,
            anything: false,
        };
        for statement in &program.body {
            exports.statement(statement);
        }
        let value = |name: Option<&str>| name.map(|name| exports.values.get(name).copied().unwrap_or(Value::Unknown));
        let (default, build_root_object) = (value(exports.default_local), value(exports.build_root_object_local));
        exports.default = exports.default.or(default);
        exports.build_root_object = exports.build_root_object.or(build_root_object);
        exports
    }

    fn dialect(&self) -> Dialect {
        match (self.default, self.build_root_object) {
            (Some(Value::Function { .. }), _) => Dialect::Setup,
            (Some(Value::Unknown), _) | (_, Some(Value::Unknown)) => Dialect::Unknown,
            (_, Some(Value::Function { first_is_e: true })) => Dialect::Early,
            (_, None) if self.anything => Dialect::Unknown,
            _ => Dialect::Today,
        }
    }

    fn statement(&mut self, statement: &'b Statement<'_>) {
        match statement {
            Statement::ExportAllDeclaration(it) => self.anything |= it.exported.is_none(),
            Statement::ExportFromDeclaration(it) => {
                for specifier in &it.specifiers {
                    self.elsewhere(specifier.exported.name().as_str());
                }
            }
            Statement::ExportNamedDeclaration(it) => {
                for specifier in &it.specifiers {
                    let (Some(local), exported) = (specifier.local.identifier_name(), specifier.exported.name()) else {
                        continue;
                    };
                    match exported.as_str() {
                        "default" => self.default_local = Some(local.as_str()),
                        "buildRootObject" => self.build_root_object_local = Some(local.as_str()),
                        _ => {}
                    }
                }
            }
            Statement::ExportDefaultDeclaration(it) => match &it.declaration {
                ExportDefaultDeclarationKind::FunctionDeclaration(it) => {
                    self.default = Some(function(&it.params));
                    if let Some(id) = &it.id {
                        self.values.insert(id.name.as_str(), function(&it.params));
                    }
                }
                ExportDefaultDeclarationKind::ClassDeclaration(_) => self.default = Some(Value::Other),
                other => match other.as_expression() {
                    Some(Expression::Identifier(name)) => self.default_local = Some(name.name.as_str()),
                    Some(expression) => self.default = Some(value(expression)),
                    None => {}
                },
            },
            Statement::ExportDeclaration(it) => {
                let is_new = !self.values.contains_key("buildRootObject");
                self.declaration(&it.declaration);
                if is_new && self.values.contains_key("buildRootObject") {
                    self.build_root_object_local = Some("buildRootObject");
                }
                if let Declaration::VariableDeclaration(it) = &it.declaration {
                    self.anything |= it.declarations.iter().any(|it| !matches!(it.id, BindingPattern::BindingIdentifier(_)));
                }
            }
            statement => {
                if let Some(declaration) = statement.as_declaration() {
                    self.declaration(declaration);
                }
            }
        }
    }

    fn elsewhere(&mut self, name: &str) {
        match name {
            "default" => self.default = Some(Value::Unknown),
            "buildRootObject" => self.build_root_object = Some(Value::Unknown),
            _ => {}
        }
    }

    fn declaration(&mut self, declaration: &'b Declaration<'_>) {
        match declaration {
            Declaration::FunctionDeclaration(it) => {
                if let Some(id) = &it.id {
                    self.values.insert(id.name.as_str(), function(&it.params));
                }
            }
            Declaration::VariableDeclaration(it) => {
                for declarator in &it.declarations {
                    if let BindingPattern::BindingIdentifier(id) = &declarator.id {
                        // What is assigned later is anybody's guess.
                        let is_fixed = it.kind.is_const();
                        let value = declarator.init.as_ref().filter(|_| is_fixed).map_or(Value::Unknown, value);
                        self.values.insert(id.name.as_str(), value);
                    }
                }
            }
            Declaration::ClassDeclaration(it) => {
                if let Some(id) = &it.id {
                    self.values.insert(id.name.as_str(), Value::Other);
                }
            }
            _ => {}
        }
    }
}

fn value(expression: &Expression<'_>) -> Value {
    match expression {
        Expression::ParenthesizedExpression(it) => value(&it.expression),
        Expression::ArrowFunctionExpression(it) => function(&it.params),
        Expression::FunctionExpression(it) => function(&it.params),
        Expression::ObjectExpression(_) | Expression::ArrayExpression(_) | Expression::ClassExpression(_) => Value::Other,
        expression if expression.is_literal() => Value::Other,
        _ => Value::Unknown,
    }
}

fn function(parameters: &FormalParameters<'_>) -> Value {
    let first = parameters.items.first().map(|parameter| &parameter.pattern);
    Value::Function { first_is_e: matches!(first, Some(BindingPattern::BindingIdentifier(id)) if id.name == "E") }
}
