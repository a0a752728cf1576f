//! What everybody may know of a record without reading its content.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    EntityKey, EventId, EventType, InstanceId, Position,
    entity::{Audience, Owner},
    place::{Place, Places},
    rights::Rights,
};

/// A record's place in its room and who sent what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordMeta {
    /// Its position in the log.
    pub position: Position,
    /// The position of the record before it in the same room, [`Position::START`] for the first.
    pub prev: Position,
    /// Its publish id.
    pub id: EventId,
    /// The instance that published it; `None`: several did, and each of them has to see what the others did.
    pub sender: Option<InstanceId>,
    /// Its type.
    pub event_type: EventType,
    /// What it is about.
    pub about: About,
    /// Set if not everybody may see it as it is.
    pub private: Option<Arc<Private>>,
    /// Where what it is about was and is, if that has a place.
    pub places: Option<Arc<Places>>,
}

/// What a record is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// Something happened.
    Event,
    /// This entity changed.
    Entity(EntityKey),
}

/// Who may see a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Private {
    /// The one who sees it as it is.
    pub owner: Owner,
    /// What it is to the others; `None`: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside: Option<Happened>,
}

/// From where a record is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum View {
    /// By somebody who might see what it is about before and may now.
    Inside,
    /// By somebody who might not before: it is new to them.
    Entered,
    /// By somebody who may not any more: it is gone for them.
    Left,
}

impl View {
    /// What a record means for its entity to whoever looks so.
    pub fn happened(self, happened: Happened) -> Happened {
        match self {
            Self::Inside => happened,
            Self::Entered => Happened::Created,
            Self::Left => Happened::Deleted,
        }
    }
}

/// Somebody who looks: whose private things it may see, and what it was granted to hear and read. Every path on which anything
/// is shown to anybody asks here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Viewer {
    owner: Option<Owner>,
    rights: Arc<Rights>,
}

impl Viewer {
    /// Whoever names no one owns nothing.
    pub fn new(owner: Option<Owner>, rights: Arc<Rights>) -> Self {
        Self { owner, rights }
    }

    /// Whether it may see everything that is not another's, so that nobody needs to ask for each.
    pub fn is_unrestricted(&self) -> bool {
        self.rights.subscribe.is_all() && self.rights.read.is_all()
    }

    /// Whether it may hear of events and signals of this type.
    pub fn hears(&self, event_type: &str) -> bool {
        self.rights.subscribe.admits(event_type)
    }

    /// Whether what it may see depends on where nodes lie.
    pub fn is_regional(&self) -> bool {
        self.rights.read.is_regional()
    }

    /// Whether it may know of an entity that lies there.
    pub fn sees(&self, key: &EntityKey, audience: &Audience, place: impl FnOnce() -> Option<Place>) -> bool {
        !audience.excludes(self.owner.as_ref()) && self.rights.read.admits(key, place)
    }

    /// The same where only an owner, if there is one, is known.
    pub fn sees_what_is(
        &self,
        key: &EntityKey,
        private_to: Option<&Owner>,
        place: impl FnOnce() -> Option<Place>,
    ) -> bool {
        private_to.is_none_or(|owner| self.owner.as_ref() == Some(owner)) && self.rights.read.admits(key, place)
    }

    /// How a record of an entity looks to it; `None`: it is not for it.
    pub fn view(&self, key: &EntityKey, private: Option<&Private>, places: Option<&Places>) -> Option<View> {
        let (knew, knows) = match private {
            Some(private) if Some(&private.owner) != self.owner.as_ref() => match private.outside {
                None => return None,
                Some(Happened::Deleted) => (true, false),
                Some(_) => (false, true),
            },
            _ => (true, true),
        };
        let read = &self.rights.read;
        let was_in = read.admits(key, || places?.was);
        let is_in = read.admits(key, || places?.is);
        match (knew && was_in, knows && is_in) {
            (true, true) => Some(View::Inside),
            (false, true) => Some(View::Entered),
            (true, false) => Some(View::Left),
            (false, false) => None,
        }
    }
}

impl RecordMeta {
    /// How it looks to somebody; `None`: it is not for them.
    pub fn view(&self, viewer: &Viewer) -> Option<View> {
        match &self.about {
            About::Event => viewer.hears(self.event_type.as_str()).then_some(View::Inside),
            About::Entity(key) => viewer.view(key, self.private.as_deref(), self.places.as_deref()),
        }
    }
}

/// What a record means for its entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Happened {
    /// It is there now.
    Created,
    /// It changed.
    Updated,
    /// It is gone.
    Deleted,
    /// Its content is as before; somebody has to choose.
    ConflictOpened,
    /// Its content is as before; another one is kept beside it.
    VariantKept,
    /// Its content is as before; a conflict or variant is settled.
    ConflictSettled,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::rights::Entities;

    /// Whether somebody may see a thing that is so, which is all that a record means for it.
    #[test]
    fn a_record_is_what_came_or_went_for_whoever_sees_by_place_and_by_owner() {
        let key = EntityKey::new("node", "n").expect("a key");
        let ann = Owner::User("ann".into());
        let region = ["0,0,10,10".parse().expect("a rectangle")];
        let regional = Entities::of([]).and_in(region);
        let (inside, outside) = (Some((5.0, 5.0)), Some((50.0, 5.0)));
        for (read, is_regional) in [(regional, true), (Entities::all(), false), (Entities::of([]), true)] {
            let is_blind = read == Entities::of([]);
            let viewer =
                |owner: Option<Owner>| Viewer::new(owner, Arc::new(Rights { read: read.clone(), ..Rights::all() }));
            for was in [inside, outside, None] {
                for is in [inside, outside, None] {
                    let places = Places { was, is };
                    let lay = !is_blind && (!is_regional || was == inside);
                    let lies = !is_blind && (!is_regional || is == inside);
                    let view = |knew: bool, knows: bool| match (knew && lay, knows && lies) {
                        (true, true) => Some(View::Inside),
                        (false, true) => Some(View::Entered),
                        (true, false) => Some(View::Left),
                        (false, false) => None,
                    };
                    let stranger = viewer(None);
                    assert_eq!(stranger.view(&key, None, Some(&places)), view(true, true), "{places:?}");
                    for (outside, knew, knows) in [
                        (None, false, false),
                        (Some(Happened::Deleted), true, false),
                        (Some(Happened::Created), false, true),
                    ] {
                        let private = Private { owner: ann.clone(), outside };
                        assert_eq!(
                            stranger.view(&key, Some(&private), Some(&places)),
                            view(knew, knows),
                            "{private:?}"
                        );
                        let owner = viewer(Some(ann.clone()));
                        assert_eq!(owner.view(&key, Some(&private), Some(&places)), view(true, true), "{private:?}");
                    }
                    let audience = Audience::Everyone;
                    assert_eq!(stranger.sees(&key, &audience, || is), lies);
                    assert!(!stranger.sees(&key, &Audience::Only(ann.clone()), || is));
                }
            }
            // What has no place is in no region.
            assert_eq!(viewer(None).view(&key, None, None).is_some(), !is_regional);
        }
    }
}
