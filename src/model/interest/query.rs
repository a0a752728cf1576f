//! Queries: an entity type and a condition on fields, in CEL.
//!
//! Owns: what a condition may be made of, so that looking at one entity stays cheap whatever somebody writes, and which
//! part of it an index can answer. Must not: parse text; `wire` does.

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, LazyLock},
};

use cel::{
    Context, Env, IdedExpr, Program,
    common::{
        ast::{Expr, LiteralValue, operators},
        value::{CowVal, Val},
    },
    context::VariableResolver,
};
use serde_json::{Map, Value};

use super::Touched;
use crate::model::EntityKey;

/// Greatest number of parts of a condition.
const PARTS: usize = 96;
/// What a condition may call: nothing here takes longer than its arguments are long.
const CALLS: [&str; 21] = [
    operators::CONDITIONAL,
    operators::LOGICAL_AND,
    operators::LOGICAL_OR,
    operators::LOGICAL_NOT,
    operators::SUBSTRACT,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::GREATER_EQUALS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::LESS,
    operators::NEGATE,
    operators::INDEX,
    operators::IN,
    "size",
    "contains",
    "startsWith",
    "endsWith",
];

/// The standard functions, made once.
static STANDARD: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// Why a condition is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It has too many parts.
    #[error("the condition has more than {PARTS} parts")]
    TooLong,
    /// It goes through lists.
    #[error("the condition goes through lists; use 'in' and size()")]
    Loops,
    /// It calls what cannot be called.
    #[error("'{0}' cannot be called; what can be is size(), contains(), startsWith() and endsWith()")]
    Unknown(String),
    /// It makes what cannot be made.
    #[error("the condition makes maps or structures")]
    Makes,
}

/// A query, ready to be asked.
pub struct Query {
    kind: Arc<str>,
    condition: Option<Program>,
    /// What it looks at; `None`: everything.
    fields: Option<HashSet<String>>,
    /// A field that has to have a value.
    pub(super) equal: Option<(Box<str>, Scalar)>,
}

/// A value as an index compares it: at least what CEL holds to be equal is equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Scalar {
    Text(Box<str>),
    Number(u64),
    Truth(bool),
}

impl Query {
    /// Takes a parsed condition; without one the query finds all entities of the type.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn new(kind: &str, condition: Option<Program>) -> Result<Self, Unfit> {
        let mut parts = Parts::default();
        let mut equal = None;
        if let Some(condition) = &condition {
            parts.look_at(condition.expression())?;
            equal = equal_of(condition.expression());
        }
        let fields = (!parts.fields.contains("data")).then_some(parts.fields);
        Ok(Self { kind: kind.into(), condition, fields, equal })
    }

    /// The type of the entities that it finds.
    pub fn kind(&self) -> &Arc<str> {
        &self.kind
    }

    /// Whether a change can make a difference to it.
    pub(super) fn looks_at(&self, touched: Touched<'_>) -> bool {
        match (touched, &self.fields) {
            (Touched::All, _) | (_, None) => true,
            (Touched::Fields(touched), Some(fields)) => touched.iter().any(|field| fields.contains(field)),
        }
    }

    /// Whether it finds an entity of its type. What cannot be told, because a field is missing or of another type, is no.
    pub(super) fn finds(&self, key: &EntityKey, fields: &Map<String, Value>) -> bool {
        let Some(condition) = &self.condition else { return true };
        let reader = Reader { key, fields };
        let mut context = Context::with_env(STANDARD.clone());
        context.set_variable_resolver(&reader);
        matches!(condition.execute(&context), Ok(cel::Value::Bool(true)))
    }
}

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Query").field("kind", &self.kind).field("equal", &self.equal).finish_non_exhaustive()
    }
}

/// An entity as a condition sees it: fields by name, `id`, and `data` for names that are no words.
struct Reader<'a> {
    key: &'a EntityKey,
    fields: &'a Map<String, Value>,
}

impl VariableResolver for Reader<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        let value = match (name, self.fields.get(name)) {
            ("id", _) => cel::Value::from(&*self.key.id),
            (_, Some(value)) => cel::to_value(value).ok()?,
            ("data", None) => cel::to_value(self.fields).ok()?,
            (_, None) => return None,
        };
        let value: Box<dyn Val> = value.try_into().ok()?;
        Some(CowVal::Owned(value))
    }
}

/// What a condition is made of.
#[derive(Default)]
struct Parts {
    count: usize,
    fields: HashSet<String>,
}

impl Parts {
    fn look_at(&mut self, part: &IdedExpr) -> Result<(), Unfit> {
        self.count += 1;
        if self.count > PARTS {
            return Err(Unfit::TooLong);
        }
        match &part.expr {
            Expr::Literal(_) | Expr::Unspecified => Ok(()),
            Expr::Ident(name) => {
                self.fields.insert(name.clone());
                Ok(())
            }
            Expr::Select(select) => self.look_at(&select.operand),
            Expr::List(list) => list.elements.iter().try_for_each(|element| self.look_at(element)),
            Expr::Call(call) => {
                if !CALLS.contains(&call.func_name.as_str()) {
                    return Err(Unfit::Unknown(match call.func_name.as_str() {
                        operators::ADD => "+".into(),
                        name => name.into(),
                    }));
                }
                call.target.iter().try_for_each(|target| self.look_at(target))?;
                call.args.iter().try_for_each(|argument| self.look_at(argument))
            }
            Expr::Comprehension(_) => Err(Unfit::Loops),
            Expr::Map(_) | Expr::Struct(_) => Err(Unfit::Makes),
        }
    }
}

/// A comparison that has to hold for the whole to hold: one of a field with a literal.
fn equal_of(part: &IdedExpr) -> Option<(Box<str>, Scalar)> {
    let Expr::Call(call) = &part.expr else { return None };
    match (call.func_name.as_str(), &call.args[..]) {
        (operators::LOGICAL_AND, sides) => sides.iter().find_map(equal_of),
        (operators::EQUALS, [a, b]) => match (&a.expr, &b.expr) {
            (Expr::Ident(name), Expr::Literal(value)) | (Expr::Literal(value), Expr::Ident(name)) => {
                // These two are no fields of the content.
                (name != "id" && name != "data").then_some(())?;
                Some((name.as_str().into(), Scalar::of_literal(value)?))
            }
            _ => None,
        },
        _ => None,
    }
}

impl Scalar {
    fn of_literal(value: &LiteralValue) -> Option<Self> {
        let value: Box<dyn Val> = value.to_val().into_owned();
        match cel::Value::try_from(&*value).ok()? {
            cel::Value::String(text) => Some(Self::Text(text.as_str().into())),
            cel::Value::Int(number) => Some(Self::number(number as f64)),
            cel::Value::UInt(number) => Some(Self::number(number as f64)),
            cel::Value::Float(number) => Some(Self::number(number)),
            cel::Value::Bool(truth) => Some(Self::Truth(truth)),
            _ => None,
        }
    }

    pub(super) fn of(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(Self::Text(text.as_str().into())),
            Value::Number(number) => number.as_f64().map(Self::number),
            Value::Bool(truth) => Some(Self::Truth(*truth)),
            _ => None,
        }
    }

    /// Whole numbers too large for this may share one: each candidate is asked the whole condition anyway.
    fn number(number: f64) -> Self {
        Self::Number(if number == 0.0 { 0.0_f64 } else { number }.to_bits())
    }
}
