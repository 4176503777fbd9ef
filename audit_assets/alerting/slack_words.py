"""Slack's words for what it did not do, and what each means to whoever sends.

Slack answers 200 whatever became of a call; the word in `error` decides. From the methods' own reference pages:
https://docs.slack.dev/reference/methods/chat.postMessage, chat.update and conversations.history.
"""

from audit_assets.alerting.outcome import OutcomeKind

# A person has to mend the token, its scopes or the channel.
_PARKED = frozenset(
    {
        *("invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "no_permission"),
        *("missing_scope", "not_allowed_token_type", "access_denied", "ekm_access_denied", "org_login_required"),
        *("two_factor_setup_required", "team_access_not_granted", "enterprise_is_restricted"),
        *("channel_not_found", "not_in_channel", "is_archived", "restricted_action"),
        *("restricted_action_read_only_channel", "restricted_action_non_threadable_channel"),
        *("restricted_action_thread_only_channel", "restricted_action_thread_locked"),
    }
)
# A message that somebody deleted, or a workspace in which nobody may change one: no fault of what is to be told.
REPLY_IS_MOOT = frozenset({"message_not_found", "cant_update_message", "edit_window_closed", "thread_not_found"})
# A message is changed by its channel's id: one that is not found is not the channel that is posted to by name.
EDIT_IS_MOOT = REPLY_IS_MOOT | {"channel_not_found"}
# Another message may be taken where this one is not. A message or thread that is gone is of this kind.
_REFUSED = frozenset(
    {
        *("invalid_blocks", "invalid_blocks_format", "invalid_attachments", "msg_too_long", "no_text"),
        *("too_many_attachments", "msg_blocks_too_long", "metadata_too_large", "metadata_must_be_sent_from_app"),
        *REPLY_IS_MOOT,
        *("cannot_reply_to_message", "invalid_arguments", "invalid_json", "json_not_object"),
    }
)
# Slack's reference says of these two that a part of the call may have been done before it failed.
FAILED_MIDWAY = frozenset({"internal_error", "fatal_error"})
# The token may post here and still not read here.
_CANNOT_LOOK = frozenset(
    {"missing_scope", "not_in_channel", "no_permission", "not_allowed_token_type", "access_denied", "thread_not_found"}
)


def kind_of_word(error: str) -> OutcomeKind:
    """What `error` means for a message. A word that is not known may pass by itself: `retry`."""
    if error in _PARKED:
        return "parked"
    if error in _REFUSED or error.startswith("invalid_metadata_"):
        return "refused"
    return "retry"


def kind_of_word_when_looking(error: str, channel: str) -> OutcomeKind:
    """What `error` means while `channel`'s history is read: `refused` where it cannot be read, though posting may do.

    conversations.history knows channels by id only, so that `channel_not_found` for a name says nothing of the channel.
    """
    by_name = not (channel[:1] in {"C", "G", "D"} and channel.isalnum() and channel.isupper())
    if error in _CANNOT_LOOK or (error == "channel_not_found" and by_name):
        return "refused"
    return kind_of_word(error)
