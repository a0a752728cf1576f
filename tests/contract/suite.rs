//! The promises by name, for every implementation.

/// Runs every promise against a backend.
macro_rules! suite {
    ($module:ident, $backend:ty) => {
        mod $module {
            suite! { @ $backend:
                appends_get_strictly_rising_positions,
                an_answered_append_is_there_for_reads_that_start_afterwards,
                records_come_back_as_they_were_appended,
                the_same_dedupe_id_makes_one_record,
                the_same_dedupe_id_makes_one_record_also_after_a_restart,
                the_same_dedupe_id_twice_at_once_makes_one_record,
                an_append_with_a_condition_that_is_repeated_makes_one_record,
                of_racing_conditional_appends_one_goes_through,
                a_condition_that_does_not_hold_names_the_version_that_stands,
                records_together_stand_side_by_side_among_others,
                of_records_together_all_go_through_or_none,
                of_racing_batches_that_share_an_entity_one_goes_through,
                records_together_know_entities_that_the_log_has_trimmed,
                what_cannot_be_appended_together_is_refused,
                a_crash_leaves_records_together_whole_or_not_at_all,
                a_feed_brings_everything_after_its_start_and_nothing_twice,
                a_feed_that_is_not_drained_lags_and_the_log_fills_the_hole,
                reads_page_by_records_and_bytes,
                trimming_shows_in_the_extent_and_keeps_entity_state,
                positions_are_never_used_again_after_everything_was_trimmed,
                nothing_crosses_tenants,
                cursors_only_move_forward,
                cursors_survive_a_restart,
                a_tally_is_kept_whole,
                count_after_counts_to_its_limit,
                last_at_finds_the_record_at_or_before,
                position_at_misses_nothing_stored_since,
                snapshot_pages_and_their_tail_make_the_full_state,
                the_epoch_stays_over_a_restart,
                an_unknown_tenant_is_empty,
                close_answers_what_waits,
                a_closed_log_says_so,
                a_crash_loses_nothing_acknowledged
            }
        }
    };
    (@ $backend:ty: $($promise:ident),*) => {
        $(
            #[tokio::test]
            async fn $promise() {
                $crate::support::in_time($crate::promises::$promise::<$backend>()).await;
            }
        )*
    };
}
