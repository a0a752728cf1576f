//! Rectangles, and which of them a point lies in.

use std::collections::{BTreeMap, HashMap};

use super::InterestId;
use crate::model::place::Place;

/// A rectangle: its left and upper sides belong to it, the others do not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Area {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

impl Area {
    /// A rectangle; `None` unless its sides are above zero and everything about it is a finite number.
    pub fn new(x: f64, y: f64, width: f64, height: f64) -> Option<Self> {
        let is_finite = [x, y, width, height, x + width, y + height].iter().all(|number| number.is_finite());
        (is_finite && width > 0.0 && height > 0.0).then_some(Self { x, y, width, height })
    }

    pub(super) fn holds(&self, (x, y): Place) -> bool {
        self.x <= x && x < self.x + self.width && self.y <= y && y < self.y + self.height
    }

    /// The grid whose tiles are as large as the rectangle, so that it lies in few of them.
    fn level(&self) -> i32 {
        self.width.max(self.height).log2().ceil() as i32
    }

    fn tiles(&self) -> impl Iterator<Item = Tile> + use<> {
        let level = self.level();
        let (from, to) = (tile(level, (self.x, self.y)), tile(level, (self.x + self.width, self.y + self.height)));
        (from.0..=to.0).flat_map(move |x| (from.1..=to.1).map(move |y| (x, y)))
    }
}

type Tile = (i64, i64);

/// The tile of a grid that a point lies in. Beyond what whole numbers reach the outermost tile is shared: a candidate is
/// looked at closely anyway.
fn tile(level: i32, (x, y): Place) -> Tile {
    let size = f64::from(level).exp2();
    ((x / size).floor() as i64, (y / size).floor() as i64)
}

/// Rectangles by the tiles that they touch, one grid for each size of rectangle: a point asks each grid for one tile.
#[derive(Debug, Default)]
pub(super) struct Tiles(BTreeMap<i32, HashMap<Tile, Vec<InterestId>>>);

impl Tiles {
    pub(super) fn add(&mut self, id: InterestId, area: &Area) {
        let grid = self.0.entry(area.level()).or_default();
        area.tiles().for_each(|tile| grid.entry(tile).or_default().push(id));
    }

    pub(super) fn remove(&mut self, id: InterestId, area: &Area) {
        let Some(grid) = self.0.get_mut(&area.level()) else { return };
        for tile in area.tiles() {
            if let Some(ids) = grid.get_mut(&tile) {
                ids.retain(|known| *known != id);
                if ids.is_empty() {
                    grid.remove(&tile);
                }
            }
        }
        if grid.is_empty() {
            self.0.remove(&area.level());
        }
    }

    /// Adds the rectangles that may hold a point.
    pub(super) fn at(&self, place: Place, into: &mut Vec<InterestId>) {
        for (level, grid) in &self.0 {
            into.extend(grid.get(&tile(*level, place)).into_iter().flatten());
        }
    }
}
