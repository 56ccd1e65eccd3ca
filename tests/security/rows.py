"""Threats, and the faults of fetching and storing: what is done about each, and the tests that show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Row:
    """
    One line of a table.

    :param what: the threat or the fault.
    :param done: what is done about it.
    :param tests: ``file below tests, without .py::function`` of tests that show it.
    :param limit: what is not done, or why there is no test.
    """

    what: str
    done: str
    tests: tuple[str, ...] = ()
    limit: str = ""


def _in(file: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{file}::test_{name}" for name in names)


_GUARD: Final = "hooks/test_download_guard"
_REDIRECTS: Final = "hooks/test_download_redirects"
_DOWNLOAD: Final = "hooks/test_download"
_BOUNDS: Final = "hooks/test_download_bounds"
_INSPECTION: Final = "images/test_inspection"
_LANDING: Final = "landing/test_landing"
_RESUMING: Final = "landing/test_resuming"
_S3: Final = "storage/test_s3"
_S3_FAULTS: Final = "storage/test_s3_faults"
_DISK: Final = "storage/test_object_storage"
_FOLDER: Final = "storage/test_folder"
_ANSWERS: Final = "contract/test_answers"

_KEY: Final = "security/test_key"
_LINKS: Final = "security/test_links"
_TEXT: Final = "security/test_remote_text"
_TRACES: Final = "security/test_tracebacks"
_TLS: Final = "security/test_tls_and_environment"
_CODE: Final = "security/test_code"
_ACCESS: Final = "plugins/test_access"
_READING: Final = "plugins/test_reading"
_PAGES: Final = "plugins/test_pages"
_MANIFESTS: Final = "plugins/test_manifests"
_TAB: Final = "ui/test_images_tab"
_REAL_RUNS: Final = "ui/test_real_runs"
_LEDGER: Final = "records/test_object_storage"
_PLANS: Final = "records/test_plans"

THREATS: Final[Mapping[str, Row]] = {
    "T1": Row(
        "A redirect carries the key to another host",
        "Answers of the API are never followed: not to another host or port, not from https to http, with no code",
        _in(
            "security/test_redirects",
            "a_redirect_is_not_followed",
            "a_redirect_from_https_to_http_is_not_followed",
            "no_spelling_of_a_target_is_followed",
            "no_other_header_leads_elsewhere",
        )
        + _in("reliability/test_submitting", "a_redirect_is_not_followed"),
    ),
    "T2": Row(
        "The key is sent in clear",
        "https, or the connection is refused before anything is sent; plain http only to a loopback host",
        _in(_KEY, "the_key_is_not_sent_in_clear", "a_schema_field_cannot_turn_https_off"),
    ),
    "T3": Row(
        "The key stands in a log, a message or a `repr`",
        "One private field holds it, outside of every `repr`; errors of the HTTP libraries, which hold the request, "
        "are replaced; an answer that repeats the key has it taken out; Airflow is told to mask it",
        _in(
            _KEY,
            "an_api_that_repeats_the_key_spreads_it_nowhere",
            "no_text_of_any_object_shows_key_link_or_prompt",
            "airflow_is_told_to_mask_the_key",
        )
        + _in(
            _TRACES,
            "the_log_of_a_failed_task_holds_no_secret",
            "nothing_that_is_tied_to_an_error_holds_the_key",
            "a_connection_that_is_refused_is_no_local_variable",
            "debugging_the_libraries_shows_no_key",
        )
        + _in("kill/test_key_afterwards", "nothing_that_airflow_wrote_holds_a_secret"),
        "A key of fewer than eight characters, and one in an answer that is compressed unasked, are left to Airflow's "
        "own masking",
    ),
    "T4": Row(
        "The key stands in Airflow's database",
        "Triggers, events, records and results hold ids and numbers; no argument and no template takes a key",
        _in(_KEY, "nothing_that_travels_holds_a_key_or_a_link", "no_argument_and_no_template_takes_a_key")
        + _in("kill/test_key_afterwards", "nothing_that_airflow_wrote_holds_a_secret"),
    ),
    "T5": Row(
        "The key lies in a field that Airflow does not mask",
        "Only the password is read; the form hides the other fields, and a key in them is not used",
        _in(_KEY, "a_key_in_another_field_is_not_used_and_not_shown", "a_key_inside_of_the_host_is_refused_unseen")
        + _in("test_provider_info", "the_hook_says_the_same_of_the_form"),
    ),
    "T6": Row(
        "Signed links leak",
        "Links are looked up in the worker that fetches them; triggers, events, records, logs and results of landed "
        "images have none; what signs a link is cut out of remote text, with its link or without",
        _in(
            _LINKS,
            "a_signed_link_of_a_result_is_stored_and_logged_nowhere",
            "links_are_in_the_result_only_where_they_were_asked_for",
            "a_sensor_keeps_links_to_itself_where_they_are_not_wanted",
            "a_transfer_looks_links_up_and_returns_none",
            "an_api_that_repeats_the_signed_input_does_not_spread_it",
            "what_signs_or_opens_is_left_out_also_without_its_link",
        )
        + _in("contract/test_text", "never_shows_the_query_of_a_link"),
        "Without a destination the result holds the vendor's links, as documented, unless `return_urls=False`",
    ),
    "T7": Row(
        "The API names links that lead this machine inwards",
        "https to public addresses on the usual port; one address that is not public refuses the name; the connection "
        "goes to the address that was checked; each redirect is checked alike",
        _in(_LINKS, "no_link_leads_this_machine_inwards", "an_api_elsewhere_cannot_lead_back_to_this_machine")
        + _in(
            _GUARD,
            "every_other_link_is_refused_without_showing_it",
            "one_address_that_is_not_public_spoils_the_name",
            "a_name_that_is_rebound_is_caught_when_it_is_asked_again",
        )
        + _in(
            _REDIRECTS,
            "a_redirect_to_a_name_that_was_rebound_reaches_nobody",
            "the_connection_goes_to_the_address_that_was_checked",
        ),
        "With a connection to a loopback host (the emulator), links to any port of this machine are fetched",
    ),
    "T8": Row(
        "Two parsers read two hosts in one link",
        "Three parsers must read the same host and port, and the text must be plain, or the link is refused",
        _in(
            _GUARD,
            "every_parser_reads_the_same_harmless_host_or_the_link_is_refused",
            "no_spelling_of_an_address_gets_further_than_the_address",
        ),
    ),
    "T9": Row(
        "An input image tells the vendor what only this network should know",
        "Files, `data:` links, private hosts in any spelling, user names and passwords are refused before the request; "
        "an object on S3 is signed at submit time, for an hour at most, and the link is only sent",
        _in(
            _LINKS,
            "what_only_this_network_can_open_is_not_told_to_the_vendor",
            "a_password_in_an_input_is_neither_sent_nor_shown",
            "the_signature_of_a_private_input_is_known_to_the_vendor_alone",
        )
        + _in("operators/test_private_images", "a_signed_link_lives_as_long_as_the_wait_and_an_hour_at_most"),
        "A public name that resolves to a private address is not resolved here: the vendor fetches inputs, not the "
        "worker. `extra_parameters` are sent as they are",
    ),
    "T10": Row(
        "A link leads to the cloud's metadata service",
        "As T7; its addresses, their other spellings and its name are tested by themselves",
        _in(_LINKS, "no_link_leads_this_machine_inwards")
        + _in(_GUARD, "every_other_link_is_refused_without_showing_it"),
    ),
    "T11": Row(
        "Something small unpacks to something huge",
        "JSON: 1 MiB, counted while it is unpacked. Images: 64 MiB, counted likewise, 50 megapixels, known before a "
        "pixel is decoded",
        _in(_ANSWERS, "a_gzip_bomb_is_refused_without_being_unpacked")
        + _in("reliability/test_waiting", "an_oversize_answer_costs_little_memory")
        + _in(
            _INSPECTION, "an_image_bomb_is_refused_before_a_pixel_is_decoded", "a_large_file_is_never_held_in_memory"
        ),
        "`python -m bench.landing_memory` measures it",
    ),
    "T12": Row(
        "A file attacks the image library",
        "Four formats, walked through by code of this provider first; Pillow may decode only these, never in the "
        "triggerer; any failure of it is a damaged image",
        _in(
            _INSPECTION,
            "bytes_of_any_kind_are_an_image_or_refused_and_nothing_else",
            "a_file_cut_at_any_byte_is_refused",
            "a_damaged_structure_is_refused_with_its_reason",
        )
        + _in("images/test_blank", "what_cannot_be_decoded_is_damaged"),
        "A fault inside of Pillow itself is for updates of Pillow to mend",
    ),
    "T13": Row(
        "A page or a script is stored as an image",
        "The bytes decide the type, which is stored with the object; SVG and HTML are no images; what follows the "
        "end of an image is stored with it, is counted, and decides neither its type nor its name",
        _in(_INSPECTION, "what_follows_an_image_says_nothing_of_its_type", "bytes_behind_the_end_are_counted")
        + _in(_LANDING, "what_is_no_image_is_asked_for_three_times_and_never_stored")
        + _in(_S3, "an_object_carries_its_digest_its_notes_and_the_type_of_its_bytes"),
        "Objects are not stored as attachments",
    ),
    "T14": Row(
        "A name in a link leads out of the folder",
        "Names are made here, from the job's id or the user's stem, of letters that no storage reads in another way",
        _in(_FOLDER, "a_stem_that_could_leave_its_folder_is_refused", "whatever_the_stem_every_part_of_a_name_is_plain")
        + _in(_DOWNLOAD, "nothing_of_a_link_goes_into_a_name"),
    ),
    "T15": Row(
        "A key that looks like an address leads to another bucket",
        "Bucket and key are split here and handed over apart",
        _in(_S3, "a_name_never_leads_to_another_bucket") + _in(_FOLDER, "a_destination_that_makes_no_sense_is_refused"),
    ),
    "T16": Row(
        "Somebody else's object is overwritten",
        "Written only where nothing is (`If-None-Match`), unless `overwrite=True`; other bytes under the name fail",
        _in(_S3, "other_bytes_are_kept_unless_they_may_be_replaced")
        + _in(_DISK, "other_bytes_are_kept_unless_they_may_be_replaced")
        + _in("operators/test_bad_input", "a_result_that_exists_under_the_users_name_is_found_before_the_submission"),
        "The owner of a bucket is not compared with an expected one",
    ),
    "T17": Row(
        "A job's id changes the path that the key is sent to",
        "Ids are quoted into one part of the path; of those that quoting does not make safe (`..`) no request is made",
        _in(
            _TEXT,
            "an_id_that_would_lead_elsewhere_is_never_asked_for",
            "an_id_of_the_user_that_would_lead_elsewhere_is_never_asked_for",
        )
        + _in("contract/test_api", "an_id_is_either_refused_or_one_plain_part_of_a_path"),
    ),
    "T18": Row(
        "A line break in the key begins a header",
        "Such a key is refused before anything is sent, and not shown",
        _in(_KEY, "a_key_that_could_begin_a_header_is_refused_unseen"),
    ),
    "T19": Row(
        "Remote text forges log lines or moves the terminal",
        "One line of at most 300 characters, without control and invisible characters",
        _in(
            _TEXT,
            "hostile_text_becomes_one_short_line",
            "ten_megabytes_of_text_are_one_short_line",
            "a_hostile_head_is_not_shown_either",
            "a_task_fails_with_one_harmless_line",
        )
        + _in("contract/test_text", "shown_text_is_one_short_line_without_control_characters"),
    ),
    "T20": Row(
        "A template in remote text is rendered",
        "Remote text goes into messages and results, never into fields that Airflow renders",
        _in(_TEXT, "a_template_in_remote_text_stays_a_text"),
    ),
    "T21": Row(
        "Prompts are kept where they do not belong",
        "Records hold digests; prompts are in no log, event, record or message",
        _in(_TEXT, "the_prompt_is_in_no_record_event_message_or_log")
        + _in(_TRACES, "the_log_of_a_failed_task_holds_no_secret"),
        "Airflow itself shows rendered arguments, the prompt among them; the digests are not salted; an API that "
        "repeats the prompt in its message is quoted",
    ),
    "T22": Row(
        "What lies around on the machine is sent along",
        "netrc files are ignored; API calls take the proxies of the environment, downloads none; no cookies",
        _in(
            _TLS,
            "a_netrc_file_sends_nobody_a_password",
            "a_proxy_sees_an_https_request_only_from_outside",
            "downloads_never_take_a_proxy_or_a_password_of_the_machine",
            "cookies_are_not_kept",
        )
        + _in(_DOWNLOAD, "a_file_is_fetched_with_nothing_but_what_a_stranger_would_send"),
        "`REQUESTS_CA_BUNDLE` replaces the trusted authorities in a worker; it is the administrator's word",
    ),
    "T23": Row(
        "TLS is switched off or old",
        "There is no switch: certificates are always checked, and nothing older than TLS 1.2 is spoken",
        _in(
            _TLS,
            "no_setting_makes_a_bad_certificate_good",
            "an_old_tls_is_not_spoken",
            "a_download_by_a_bad_certificate_is_refused",
        )
        + _in(_CODE, "no_switch_weakens_tls"),
    ),
    "T24": Row(
        "A loop or a mass clear spends the account",
        "One request for one human decision; want of credits fails for good, whatever else is set",
        _in(_TEXT, "no_credits_is_no_reason_to_ask_again")
        + _in("reliability/test_never_twice", "nothing_is_paid_for_twice_and_no_job_is_lost"),
        "Only a batch has a bound on the jobs of a run (`max_jobs`, `max_cost`): for other operators use a pool and "
        "`max_active_tis_per_dag`",
    ),
    "T25": Row(
        "Somebody plays the vendor's webhook",
        "Webhooks are not used; nothing of this provider listens but the Images tab in the API server, and that can "
        "only be read",
        _in(_CODE, "nothing_listens") + _in(_ACCESS, "the_tab_can_only_be_read"),
    ),
    "T26": Row(
        "A package that nobody chose comes in",
        "Eight direct dependencies, all but Pillow part of most installations of Airflow; versions are pinned in "
        "development; the code is scanned",
        _in(_CODE, "the_provider_needs_no_package_that_was_not_chosen", "every_package_is_pinned_to_one_version"),
        "Pinned versions are not pinned by hash",
    ),
    "T27": Row(
        "Data that is read executes",
        "JSON only, with a version; everything else is refused by value",
        _in(_CODE, "nothing_is_read_that_executes", "a_stranger_is_refused_by_value"),
    ),
    "T28": Row(
        "Somebody without a login looks at the Images tab",
        "Every page and every picture asks Airflow who is there before anything is looked up; else 401, and no more",
        _in(_ACCESS, "who_is_not_logged_in_gets_401_everywhere", "not_logged_in_comes_before_not_there")
        + _in(_TAB, "who_is_not_logged_in_sees_no_image"),
        "Style sheets, scripts and icons of the tab are given to everybody",
    ),
    "T29": Row(
        "A user looks at images of a DAG that they may not read",
        "At every request Airflow's auth manager is asked for task instances and for XComs of that DAG; the answer is "
        "that of a DAG which does not exist, to the byte",
        _in(
            _ACCESS,
            "who_may_not_read_the_dag_gets_what_a_dag_gives_that_does_not_exist",
            "each_dag_is_asked_for_by_its_own_name",
            "a_user_without_one_of_the_rights_sees_nothing",
        ),
        "Who may write a task's XCom or a manifest can have the tab show any image that the task's connection can read",
    ),
    "T30": Row(
        "A request to the tab makes up a path",
        "Addresses hold DAG, run, task and numbers; what is read is what the result, its manifest or a sidecar names, "
        "and a digest becomes a file name only if it is one",
        _in(
            _READING,
            "no_part_of_an_address_is_a_path",
            "a_number_that_the_result_does_not_have_is_nothing",
            "a_row_that_the_manifest_does_not_have_is_nothing",
            "a_digest_that_is_none_never_becomes_a_file_name",
        ),
    ),
    "T31": Row(
        "A result leads the API server to a foreign bucket, across its own disk, or into its network",
        "S3 is read with the task's connection, and what comes must be a whole image; files only below the task's "
        "destination or a configured folder, through no link; addresses of the web are never asked",
        _in(
            _READING,
            "a_result_in_a_foreign_bucket_makes_the_server_read_only_what_is_named",
            "neither_results_nor_inputs_nor_manifests_lead_the_server_elsewhere",
            "files_are_read_below_the_destination_of_the_task_and_nowhere_else",
            "the_whole_disk_is_no_destination",
            "what_is_no_image_is_not_served",
            "an_image_that_was_overwritten_since_is_not_shown_as_the_result",
            "what_somebody_put_in_a_thumbnails_place_is_not_served",
        )
        + _in(_MANIFESTS, "a_copy_on_disk_serves_no_task_of_other_rights"),
        "A bucket that the connection can read is no foreign one: give it the rights that the DAG needs",
    ),
    "T32": Row(
        "A prompt, a name or an error holds markup",
        "Everything that is put into a page is text; pages hold no script and no style of their own, and the policy "
        "forbids them",
        _in(_PAGES, "markup_is_text_wherever_it_stands")
        + _in(
            _ACCESS,
            "pages_hold_no_script_and_no_style_of_their_own",
            "every_answer_tells_the_browser_what_it_may_not_do",
        )
        + _in(_TAB, "a_picture_that_cannot_be_read_says_why_in_its_place"),
    ),
    "T33": Row(
        "The tab has the reader's browser ask somebody else",
        "Pages load from Airflow's own address only, which the policy enforces; an input of the web is shown as text",
        _in(_TAB, "nothing_outside_of_airflow_is_asked_for", "an_input_of_the_web_is_an_address_and_not_a_picture")
        + _in(_REAL_RUNS, "nothing_outside_of_airflow_is_asked_for")
        + _in(_PAGES, "an_input_of_the_web_is_shown_as_text_and_never_fetched"),
    ),
    "T34": Row(
        "What the tab reads fills the memory of the API server",
        "Bounded threads of its own; one picture is decoded at a time, of a known size; manifests lie on disk, nine "
        "bytes a row in memory; results, lines and files above their bounds are refused",
        _in(
            _MANIFESTS,
            "paging_through_ten_thousand_rows_takes_little_memory",
            "the_peak_of_the_server_stays_low_while_thumbnails_are_made",
            "only_a_few_manifests_are_kept_and_their_files_are_closed",
            "a_manifest_with_too_many_rows_is_refused",
        )
        + _in(_READING, "an_image_that_is_too_large_is_not_even_fetched")
        + _in(_ACCESS, "too_many_at_once_are_refused_instead_of_piled_up")
        + _in(_PAGES, "where_there_is_nothing_the_page_says_why"),
    ),
    "T35": Row(
        "Two writers have one ledger, and both submit",
        "A lease, taken by writing an object that nobody else can write too; the right to submit is proven before each "
        "request, at most five seconds old; who takes over reads only after that; what the older one writes later is "
        "ignored, but for the job of an unanswered submission; no segment is overwritten",
        _in(
            _LEDGER,
            "another_task_is_refused_while_the_lease_lives_and_told_by_whom",
            "of_several_that_take_a_free_ledger_at_once_one_gets_it",
            "of_two_processes_that_race_for_the_ledger_one_gets_it",
            "a_process_that_was_superseded_is_stopped",
            "a_ledger_is_contested_unless_its_last_process_has_let_go",
            "what_took_long_to_write_is_not_acted_on_by_a_process_that_was_superseded_meanwhile",
            "within_five_seconds_a_superseded_process_still_writes_and_its_successor_reads_that",
            "a_segment_of_a_dead_process_that_arrives_after_a_compaction_is_ignored_and_counted",
            "the_right_to_spend_is_proven_anew_after_a_pause",
            "an_epoch_is_never_given_twice_whatever_was_deleted",
            "the_release_of_an_older_process_does_not_end_the_newer_lease",
            "a_segment_that_somebody_else_wrote_is_never_overwritten",
        ),
    ),
    "T36": Row(
        "An object of the ledger or of a plan is damaged, or somebody else's",
        "It is refused by its name, and nothing more is submitted, as it may be paid twice; an unreadable lease is "
        "nobody's to take",
        _in(
            _LEDGER,
            "what_is_damaged_or_foreign_is_refused_by_name",
            "a_lease_that_cannot_be_read_is_nobody_s_to_take",
            "a_segment_that_is_missing_before_others_is_noticed",
            "a_crash_between_a_snapshot_and_the_removal_leaves_a_consistent_ledger",
            "an_entry_that_json_cannot_carry_is_not_half_written",
        )
        + _in(_PLANS, "what_is_damaged_is_refused_by_name"),
        "Who can write to the ledger's folder can write entries that are believed",
    ),
}

FETCHING: Final[Mapping[int, Row]] = {
    54: Row(
        "A link has expired (403, 404, 410)",
        "The job is looked at once for new links; else `LandingFailed`, and a retry looks again",
        _in(_RESUMING, "an_expired_link_is_renewed_by_a_look_at_the_job", "a_link_that_expires_again_is_given_up")
        + _in(_DOWNLOAD, "a_link_that_is_refused_is_not_asked_again"),
    ),
    55: Row(
        "A file is cut, and its length tells",
        "Fetched whole again, 4 times at most; never continued in the middle",
        _in(
            _DOWNLOAD,
            "a_passing_fault_is_mended_by_fetching_the_whole_file_again",
            "a_line_that_breaks_in_the_middle_is_mended",
            "a_longer_first_attempt_leaves_nothing_in_the_second",
        ),
    ),
    56: Row(
        "A file is cut, and nothing tells",
        "Its structure must be whole to the end of the image; fetched again as 55",
        _in(_INSPECTION, "a_file_cut_at_any_byte_is_refused", "a_cut_never_passes_for_a_whole_file")
        + _in(_LANDING, "a_broken_image_is_fetched_again_and_lands_whole"),
    ),
    57: Row(
        "A page or JSON comes instead of the image",
        "The first bytes decide; asked for 3 times, never stored",
        _in(_LANDING, "what_is_no_image_is_asked_for_three_times_and_never_stored"),
    ),
    58: Row(
        "A file without end, or with a length that lies",
        "64 MiB, then `LandingFailed`",
        _in(_BOUNDS, "a_file_without_end_is_refused_at_the_limit", "a_length_that_lies_does_not_let_more_in"),
    ),
    59: Row(
        "A trickle",
        "At least 1 KiB a second over 30 s, 300 s for an attempt; then fetched again",
        _in(_BOUNDS, "a_trickle_is_given_up_although_bytes_keep_coming", "time_is_bounded_whatever_the_host_does"),
    ),
    60: Row(
        "A link redirects",
        "Followed 3 times, each target judged like a link, with nothing carried along",
        _in(
            _REDIRECTS,
            "redirects_are_followed_without_carrying_anything_along",
            "three_redirects_are_followed_and_the_fourth_is_not",
            "a_redirect_leads_nowhere_that_a_link_may_not",
        ),
    ),
    61: Row(
        "The storage host answers 429 or 5xx",
        "Tried again with pauses, or with the pause that it asks for",
        _in(_DOWNLOAD, "a_passing_fault_is_mended_by_fetching_the_whole_file_again")
        + _in(_BOUNDS, "a_retry_after_is_obeyed_within_bounds"),
    ),
    62: Row(
        "One of several images fails",
        "Those before it stay, the task fails, and its next try fetches the rest",
        _in(
            _RESUMING,
            "the_next_try_keeps_what_is_landed_and_fetches_the_rest",
            "only_the_images_that_are_left_are_fetched_by_the_new_links",
        ),
    ),
    63: Row(
        "Bits flip on the way",
        "A PNG's checksums must be right; the digest of the bytes goes to the storage, which verifies it",
        _in(
            _LANDING,
            "a_bit_that_flips_on_the_way_is_found_in_a_png",
            "a_bit_that_flips_in_the_pixels_of_a_jpeg_may_pass_and_the_digest_is_of_what_came",
        )
        + _in(_S3_FAULTS, "an_object_is_written_by_one_request_that_says_what_it_must_be"),
        "A flip in the pixels of a JPEG, WEBP or GIF that can still be decoded is not noticed",
    ),
    64: Row(
        "0 bytes come",
        "As 57",
        _in(_LANDING, "what_is_no_image_is_asked_for_three_times_and_never_stored"),
    ),
    65: Row(
        "An image bomb",
        "50 megapixels at most, read from the head of the file",
        _in(_INSPECTION, "an_image_bomb_is_refused_before_a_pixel_is_decoded")
        + _in(_LANDING, "what_must_not_be_taken_is_asked_for_once"),
    ),
    66: Row(
        "The worker is out of memory or disk",
        "Bytes go through a private temporary file; a full disk is `LandingFailed`, and leaves nothing",
        _in(
            _LANDING,
            "a_full_disk_of_the_worker_is_a_clear_failure",
            "a_full_disk_at_the_destination_is_a_clear_failure",
            "temporary_files_are_nobody_elses_business",
        )
        + _in(_INSPECTION, "a_large_file_is_never_held_in_memory"),
    ),
}

STORING: Final[Mapping[int, Row]] = {
    67: Row(
        "S3 is slow, fails or resets",
        "Left to botocore (5 attempts), then `StorageFailed`, which a retry of the task follows",
        _in(_S3, "a_connection_that_breaks_once_is_mended_by_botocore")
        + _in(_S3_FAULTS, "what_lasts_is_told_from_what_passes_before_anything_is_paid"),
    ),
    68: Row(
        "No permission, no bucket",
        "A marker is written before the job is submitted: nothing is paid for what cannot be stored",
        _in(_S3, "a_bucket_that_does_not_exist_is_found_out_before_anything_is_paid")
        + _in("operators/test_bad_input", "a_missing_bucket_is_found_before_the_submission"),
    ),
    69: Row(
        "An upload dies in the middle",
        "One request writes an object; a file is renamed when it is whole",
        _in(_S3_FAULTS, "an_object_is_written_by_one_request_that_says_what_it_must_be")
        + _in(_S3, "an_answer_lost_after_the_object_was_written_counts_as_written")
        + _in(_DISK, "a_full_disk_leaves_nothing_behind", "a_reader_never_sees_half_a_file"),
        "On other object storages than S3 it is for their file system to write all or nothing",
    ),
    70: Row(
        "The name is taken",
        "The same bytes count as written; others are `AlreadyThere`, unless `overwrite=True`",
        _in(_S3, "the_same_bytes_count_as_written", "other_bytes_are_kept_unless_they_may_be_replaced"),
        "Other storages than S3 are asked before they are written: two tasks at once may both write",
    ),
    71: Row(
        "The worker dies after storing, before its success is known",
        "The same job has the same names: the next try finds its images and fetches nothing",
        _in(
            _RESUMING,
            "the_next_try_keeps_what_is_landed_and_fetches_the_rest",
            "what_lies_on_s3_is_not_read_again_to_be_known",
        ),
    ),
    72: Row(
        "Credentials for S3 expire during the wait",
        "They are read anew when the images are landed",
        _in("security/test_aws_credentials", "credentials_that_change_during_the_wait_are_read_anew"),
    ),
    73: Row(
        "The machine's clock is wrong for S3",
        "Left to botocore; what remains is a sentence with S3's own word for it",
        _in(_S3_FAULTS, "what_cannot_be_written_is_one_sentence"),
        "That botocore corrects the time is not tested here",
    ),
    74: Row(
        "The storage stops between two images",
        "As 62",
        _in(_RESUMING, "a_store_that_stops_in_the_middle_keeps_what_it_has"),
    ),
}
