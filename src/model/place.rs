//! Where nodes lie in the graph's plane, and rectangles of it that a grant names.
//!
//! Owns: which entities have a place, and how it is read from their content. Everything that asks where something lies asks
//! here, so that no path thinks otherwise than another.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::EntityKey;

/// A point of the graph's plane: `x` and `y`, both finite.
pub type Place = (f64, f64);

/// The type of the entities that have a place.
const NODE: &str = "node";

/// Whether entities of this type may have a place.
pub fn has_place(key: &EntityKey) -> bool {
    *key.kind == *NODE
}

/// Where an entity with these fields lies; `None`: nowhere.
pub fn place_of(key: &EntityKey, fields: &Map<String, Value>) -> Option<Place> {
    if has_place(key) { place(fields.get("x")?, fields.get("y")?) } else { None }
}

fn place(x: &Value, y: &Value) -> Option<Place> {
    let number = |value: &Value| value.as_f64().filter(|number| number.is_finite());
    Some((number(x)?, number(y)?))
}

/// The same of a content that is a text of JSON.
pub fn place_in(key: &EntityKey, content: &str) -> Option<Place> {
    #[derive(Deserialize)]
    struct Fields {
        x: Value,
        y: Value,
    }
    if !has_place(key) {
        return None;
    }
    // A name that stands there twice has been refused or written anew before it comes here.
    let Fields { x, y } = serde_json::from_str(content).ok()?;
    place(&x, &y)
}

/// Where an entity lay before a change and lies after it. What was not there before counts as having come where it is;
/// what is deleted lies where it was deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Places {
    /// Before.
    pub was: Option<Place>,
    /// After.
    pub is: Option<Place>,
}

// Places are finite, so equality is one.
impl Eq for Places {}

/// A rectangle with sides above zero: its left and upper sides belong to it, the others do not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rectangle {
    from: Place,
    to: Place,
}

impl Rectangle {
    /// Whether a point lies in it.
    pub fn holds(&self, (x, y): Place) -> bool {
        self.from.0 <= x && x < self.to.0 && self.from.1 <= y && y < self.to.1
    }
}

// Its numbers are finite, so equality is one.
impl Eq for Rectangle {}

/// As `x0,y0,x1,y1`.
impl fmt::Display for Rectangle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from: (x0, y0), to: (x1, y1) } = self;
        // Not with all their digits: 1e300 has many.
        write!(f, "{x0:?},{y0:?},{x1:?},{y1:?}")
    }
}

/// A text that is no rectangle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a rectangle is x0,y0,x1,y1 with x0 < x1 and y0 < y1")]
pub struct NoRectangle;

impl FromStr for Rectangle {
    type Err = NoRectangle;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |part: &str| part.trim().parse::<f64>().ok().filter(|number| number.is_finite());
        let numbers: Option<Vec<f64>> = text.split(',').map(number).collect();
        match numbers.as_deref() {
            Some(&[x0, y0, x1, y1]) if x0 < x1 && y0 < y1 => Ok(Self { from: (x0, y0), to: (x1, y1) }),
            _ => Err(NoRectangle),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rectangle_holds_its_left_and_upper_sides() {
        let rectangle: Rectangle = "-1,0, 10,2.5".parse().expect("a rectangle");
        for inside in [(-1.0, 0.0), (9.999, 2.499), (0.0, 1.0)] {
            assert!(rectangle.holds(inside), "{inside:?}");
        }
        for outside in [(10.0, 1.0), (0.0, 2.5), (-1.001, 0.0), (0.0, -0.001), (f64::NAN, 1.0)] {
            assert!(!rectangle.holds(outside), "{outside:?}");
        }
        assert_eq!(rectangle.to_string().parse(), Ok(rectangle));
        for bad in ["", "1,2,3", "1,2,3,4,5", "0,0,0,1", "0,0,1,0", "5,0,1,1", "0,0,inf,1", "0,NaN,1,1", "a,0,1,1"] {
            assert_eq!(bad.parse::<Rectangle>(), Err(NoRectangle), "{bad}");
        }
    }

    #[test]
    fn only_nodes_with_two_numbers_have_a_place() {
        let node = EntityKey::new("node", "n").expect("a key");
        let place = |content: Value| {
            let fields = content.as_object().expect("an object");
            let place = place_of(&node, fields);
            assert_eq!(place_in(&node, &content.to_string()), place, "both readings agree on {content}");
            place
        };
        assert_eq!(place(json!({"x": 1, "y": -2.5, "z": "much"})), Some((1.0, -2.5)));
        for nowhere in [
            json!({}),
            json!({"x": 1}),
            json!({"x": "1", "y": 1}),
            json!({"x": null, "y": 1}),
            json!({"at": {"x": 1, "y": 1}}),
        ] {
            assert_eq!(place(nowhere.clone()), None, "{nowhere}");
        }
        let edge = EntityKey::new("edge", "e").expect("a key");
        assert_eq!(place_in(&edge, r#"{"x":1,"y":1}"#), None);
    }
}
