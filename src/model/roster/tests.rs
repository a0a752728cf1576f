//! One room, move by move.

use uuid::Uuid;

use super::*;

const ME: NodeId = NodeId(Uuid::from_u128(5));
const LOWER: NodeId = NodeId(Uuid::from_u128(1));
const HIGHER: NodeId = NodeId(Uuid::from_u128(9));
const TIMEOUT: Duration = Duration::from_secs(90);

fn name(text: &str) -> InstanceId {
    text.parse().expect("an instance")
}

fn presence(at: i64) -> Presence {
    let user = Some(format!("user-{at}").into());
    let (capabilities, affinity) = (vec![], Affinity::NONE);
    Presence { connected_at: Timestamp(at), capabilities, user, name: None, connection: None, affinity }
}

fn join(roster: &mut Roster<u32>, text: &str, member: u32) -> Joined<u32> {
    roster.join(name(text), member, presence(i64::from(member)), Arrival::Fresh)
}

fn leave(roster: &mut Roster<u32>, text: &str, member: u32, how: Farewell) -> Left {
    roster.leave(&name(text), member, how, TIMEOUT)
}

fn claim(text: &str, generation: u64) -> Claim {
    let presence = presence(i64::try_from(generation).expect("a time"));
    Claim { instance: name(text), generation: Generation(generation), presence, attendance: Attendance::Connected }
}

#[test]
fn a_newer_connection_fences_the_older_ones_farewell() {
    let mut roster = Roster::new(ME);
    assert_eq!(join(&mut roster, "a", 1), Joined::New);
    assert_eq!(join(&mut roster, "a", 2), Joined::Replaces(1));
    assert_eq!(leave(&mut roster, "a", 1, Farewell::Closed), Left::Stale);
    assert_eq!((roster.connected(), roster.len()), (1, 1));
    // The stay began with the first connection and is the last one's user's.
    let gone = Presence { connected_at: Timestamp(1), ..presence(2) };
    assert_eq!(leave(&mut roster, "a", 2, Farewell::Closed), Left::Gone(gone));
    assert!(roster.is_empty());
}

#[test]
fn a_lost_instance_that_comes_back_in_time_was_never_away() {
    let mut roster = Roster::new(ME);
    join(&mut roster, "a", 1);
    assert_eq!(leave(&mut roster, "a", 1, Farewell::Lost), Left::Missed);
    assert!(roster.misses_somebody());
    assert_eq!(roster.expire(TIMEOUT - Duration::from_secs(1)), []);
    assert_eq!(join(&mut roster, "a", 2), Joined::Back);
    assert_eq!(roster.expire(TIMEOUT + Duration::from_secs(1)), []);
    leave(&mut roster, "a", 2, Farewell::Lost);
    let gone = Presence { connected_at: Timestamp(1), ..presence(2) };
    assert_eq!(roster.expire(TIMEOUT), [(name("a"), gone, Whose::Ours)]);
    assert_eq!((roster.connected(), roster.len()), (0, 0));
}

#[test]
fn whoever_is_waited_for_is_waited_for_longer_if_the_node_was_away() {
    let mut roster = Roster::new(ME);
    join(&mut roster, "a", 1);
    leave(&mut roster, "a", 1, Farewell::Lost);
    roster.wait_longer(Duration::from_secs(20));
    assert_eq!(roster.expire(TIMEOUT + Duration::from_secs(19)), []);
    assert_eq!(roster.expire(TIMEOUT + Duration::from_secs(20)).len(), 1);
}

#[test]
fn an_instance_that_comes_here_from_another_node_was_never_away() {
    let mut roster = Roster::new(ME);
    assert_eq!(roster.claimed(LOWER, claim("a", 70)), Claimed::New);
    assert_eq!((roster.connected(), roster.connected_here()), (1, 0));
    // By this clock earlier than the connection there; it is the newer one all the same.
    assert_eq!(join(&mut roster, "a", 60), Joined::Back);
    assert_eq!(roster.claim(&name("a")).map(|claim| claim.generation), Some(Generation(71)));
    assert_eq!(roster.presence(&name("a")).map(|presence| presence.connected_at), Some(Timestamp(70)), "one stay");
    // What is still under way from there changes nothing.
    assert_eq!(roster.claimed(LOWER, claim("a", 70)), Claimed::Older);
    assert_eq!(roster.left_there(LOWER, &name("a")), None);
    assert_eq!(roster.node_gone(LOWER), []);
    assert_eq!((roster.connected(), roster.connected_here()), (1, 1));
}

#[test]
fn an_instance_that_goes_to_another_node_takes_its_connection_here_with_it() {
    let mut roster = Roster::new(ME);
    join(&mut roster, "a", 10);
    assert_eq!(roster.claimed(LOWER, claim("a", 11)), Claimed::Takes(10));
    assert_eq!(leave(&mut roster, "a", 10, Farewell::Closed), Left::Stale);
    assert!(roster.has_nobody_here());
    assert_eq!(roster.left_there(LOWER, &name("a")), Some(presence(11)));
    assert!(roster.is_empty());
}

#[test]
fn two_that_joined_at_the_same_time_are_told_apart_by_their_nodes() {
    let mut roster = Roster::new(ME);
    join(&mut roster, "a", 10);
    assert_eq!(roster.claimed(LOWER, claim("a", 10)), Claimed::Older);
    assert_eq!(roster.claimed(HIGHER, claim("a", 10)), Claimed::Takes(10));
}

#[test]
fn a_missed_instance_counts_as_a_stay_and_not_as_a_connection() {
    let mut roster = Roster::<u32>::new(ME);
    roster.claimed(LOWER, claim("a", 1));
    roster.missed_there(HIGHER, &name("a"));
    assert_eq!(roster.connected(), 1, "only its own node knows");
    roster.missed_there(LOWER, &name("a"));
    assert_eq!((roster.connected(), roster.len()), (0, 1));
    assert_eq!(roster.claimed(LOWER, claim("a", 2)), Claimed::Known);
    assert_eq!((roster.connected(), roster.len()), (1, 1));
}

#[test]
fn with_a_node_go_all_that_nobody_else_has() {
    let mut roster = Roster::new(ME);
    for text in ["a", "b", "c"] {
        roster.claimed(LOWER, claim(text, 1));
    }
    roster.claimed(HIGHER, claim("b", 2));
    join(&mut roster, "c", 3);
    assert_eq!(roster.node_gone(LOWER), [(name("a"), presence(1))]);
    assert_eq!(roster.node_gone(LOWER), []);
    assert_eq!((roster.connected(), roster.len()), (2, 2));
}

#[test]
fn whoever_was_on_a_node_that_said_farewell_may_come_back_elsewhere() {
    let mut roster = Roster::new(ME);
    for text in ["a", "b", "c"] {
        roster.claimed(LOWER, claim(text, 1));
    }
    roster.node_departed(LOWER, TIMEOUT);
    assert_eq!((roster.connected(), roster.len()), (0, 3));
    assert_eq!(join(&mut roster, "a", 2), Joined::Back);
    assert_eq!(roster.claimed(HIGHER, claim("b", 2)), Claimed::Known);
    assert_eq!(roster.expire(TIMEOUT), [(name("c"), presence(1), Whose::Everyones)]);
}

#[test]
fn a_member_of_a_rebuilt_room_is_as_new_as_it_was() {
    let mut roster = Roster::new(ME);
    roster.claimed(LOWER, claim("moved", 20));
    let again = |roster: &mut Roster<u32>, text, member: u32| {
        roster.join(name(text), member, presence(i64::from(member)), Arrival::Again)
    };
    assert_eq!(again(&mut roster, "moved", 10), Joined::Superseded);
    assert_eq!(again(&mut roster, "stayed", 30), Joined::New);
    assert_eq!(again(&mut roster, "stayed", 29), Joined::Superseded);
    assert_eq!(again(&mut roster, "stayed", 31), Joined::Replaces(30));
}

#[test]
fn connections_are_counted_by_user_on_all_nodes_and_the_missed_ones_are_none() {
    let mut roster = Roster::new(ME);
    let of = |user: Option<&str>| Presence { user: user.map(Arc::from), ..presence(1) };
    for (member, (text, user)) in
        [("a", Some("ann")), ("b", Some("ann")), ("c", None), ("d", Some("bob"))].iter().enumerate()
    {
        roster.join(name(text), member as u32, of(*user), Arrival::Fresh);
    }
    let there = Claim { presence: of(Some("ann")), ..claim("e", 1) };
    roster.claimed(LOWER, there);
    roster.leave(&name("d"), 3, Farewell::Lost, TIMEOUT);
    let by_user = [(None, 1), (Some("ann".into()), 3)].into();
    assert_eq!(roster.connections(), Connections { total: 4, elsewhere: 1, by_user });
    assert_eq!((roster.connections_of("ann"), roster.connections_of("bob")), (3, 0));
    // An instance whose next connection, or next node, is another user's.
    roster.join(name("a"), 9, of(Some("bob")), Arrival::Fresh);
    roster.claimed(HIGHER, Claim { presence: of(None), ..claim("e", 2) });
    roster.node_gone(LOWER);
    assert_eq!((roster.connections_of("ann"), roster.connections_of("bob")), (1, 1));
    let by_user = [(None, 2), (Some("ann".into()), 1), (Some("bob".into()), 1)].into();
    assert_eq!(roster.connections(), Connections { total: 4, elsewhere: 1, by_user });
}
