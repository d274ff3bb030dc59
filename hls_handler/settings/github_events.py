"""GitHub's webhook events and their actions, so that misspelt ones are reported when settings are
loaded.

The table is from GitHub's own description of its webhooks (npm package @octokit/openapi 23.0.2,
`x-webhooks`).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping

ACTIONS: Mapping[str, str] = {
    "branch_protection_configuration": "disabled enabled",
    "branch_protection_rule": "created deleted edited",
    "check_run": "completed created requested_action rerequested",
    "check_suite": "completed requested rerequested",
    "code_scanning_alert": (
        "appeared_in_branch closed_by_user created fixed reopened reopened_by_user"
        " updated_assignment"
    ),
    "commit_comment": "created",
    "create": "",
    "custom_property": "created deleted promote_to_enterprise updated",
    "custom_property_values": "updated",
    "delete": "",
    "dependabot_alert": (
        "assignees_changed auto_dismissed auto_reopened created dismissed fixed reintroduced"
        " reopened"
    ),
    "deploy_key": "created deleted",
    "deployment": "created",
    "deployment_protection_rule": "requested",
    "deployment_review": "approved rejected requested",
    "deployment_status": "created",
    "discussion": (
        "answered category_changed closed created deleted edited labeled locked pinned reopened"
        " transferred unanswered unlabeled unlocked unpinned"
    ),
    "discussion_comment": "created deleted edited",
    "fork": "",
    "github_app_authorization": "revoked",
    "gollum": "",
    "installation": "created deleted new_permissions_accepted suspend unsuspend",
    "installation_repositories": "added removed",
    "installation_target": "renamed",
    "issue_comment": "created deleted edited pinned unpinned",
    "issue_dependencies": "blocked_by_added blocked_by_removed blocking_added blocking_removed",
    "issues": (
        "assigned closed deleted demilestoned edited field_added field_removed labeled locked"
        " milestoned opened pinned reopened transferred typed unassigned unlabeled unlocked"
        " unpinned untyped"
    ),
    "label": "created deleted edited",
    "marketplace_purchase": "cancelled changed pending_change pending_change_cancelled purchased",
    "member": "added edited removed",
    "membership": "added removed",
    "merge_group": "checks_requested destroyed",
    "meta": "deleted",
    "milestone": "closed created deleted edited opened",
    "org_block": "blocked unblocked",
    "organization": "deleted member_added member_invited member_removed renamed",
    "package": "published updated",
    "page_build": "",
    "personal_access_token_request": "approved cancelled created denied",
    "ping": "",
    "project": "closed created deleted edited reopened",
    "project_card": "converted created deleted edited moved",
    "project_column": "created deleted edited moved",
    "projects_v2": "closed created deleted edited reopened",
    "projects_v2_item": "archived converted created deleted edited reordered restored",
    "projects_v2_status_update": "created deleted edited",
    "public": "",
    "pull_request": (
        "assigned auto_merge_disabled auto_merge_enabled closed converted_to_draft demilestoned"
        " dequeued edited enqueued labeled locked milestoned opened ready_for_review reopened"
        " review_request_removed review_requested stacked synchronize unassigned unlabeled unlocked"
    ),
    "pull_request_review": "dismissed edited submitted",
    "pull_request_review_comment": "created deleted edited",
    "pull_request_review_thread": "resolved unresolved",
    "push": "",
    "registry_package": "published updated",
    "release": "created deleted edited prereleased published released unpublished",
    "repository": (
        "archived created deleted edited privatized publicized renamed transferred unarchived"
    ),
    "repository_advisory": "published reported",
    "repository_dispatch": "",
    "repository_import": "",
    "repository_ruleset": "created deleted edited",
    "repository_vulnerability_alert": "create dismiss reopen resolve",
    "secret_scanning_alert": (
        "assigned created metadata_created metadata_removed publicly_leaked reopened resolved"
        " unassigned validated"
    ),
    "secret_scanning_alert_location": "created",
    "secret_scanning_scan": "completed",
    "security_advisory": "published updated withdrawn",
    "security_and_analysis": "",
    "sponsorship": "cancelled created edited pending_cancellation pending_tier_change tier_changed",
    "star": "created deleted",
    "status": "",
    "sub_issues": "parent_issue_added parent_issue_removed sub_issue_added sub_issue_removed",
    "team": "added_to_repository created deleted edited removed_from_repository",
    "team_add": "",
    "watch": "started",
    "workflow_dispatch": "",
    "workflow_job": "completed in_progress queued waiting",
    "workflow_run": "completed in_progress requested",
}
"""Event name -> its actions, separated by spaces; "" if its payloads have no action."""

CUSTOM_ACTION_EVENTS = frozenset({"repository_dispatch"})
"""Events whose sender chooses the action."""


CONVERSATION_EVENTS = frozenset(
    {
        "issues",
        "issue_comment",
        "pull_request",
        "pull_request_review",
        "pull_request_review_comment",
        "pull_request_review_thread",
    }
)
"""Events that always belong to an issue or pull request."""


CLOSED_EVENTS = frozenset({"issues.closed", "pull_request.closed"})


def find_event_problem(key: str) -> str | None:
    """Return the mistake in an event key, such as 'GitHub has no event "isues"'; None for "issues",
    "issues.opened".
    """
    name, dot, action = key.partition(".")
    if name not in ACTIONS:
        near = difflib.get_close_matches(name, ACTIONS, n=1, cutoff=0.6)
        hint = f"; did you mean {near[0]}{dot}{action}?" if near else ""
        return f'GitHub has no event "{name}"{hint}'
    if not dot or name in CUSTOM_ACTION_EVENTS:
        return None
    actions = ACTIONS[name].split()
    if action in actions:
        return None
    if not actions:
        return f'the event "{name}" has no actions; write {name}'
    near = difflib.get_close_matches(action, actions, n=1, cutoff=0.6)
    hint = f"did you mean {name}.{near[0]}?" if near else f"it has {', '.join(actions)}"
    return f'the event "{name}" has no action "{action}"; {hint}'


def find_fallback_event_problem(key: str) -> str | None:
    """Return what is wrong with a key of `comments.post_to`, or None.

    The key must name an event that exists, and that is not about an issue or pull request unless it
    closes one.
    """
    if key.partition(".")[0] in CONVERSATION_EVENTS and key not in CLOSED_EVENTS:
        where = (
            f"only comments about {' and '.join(sorted(CLOSED_EVENTS))} can be posted elsewhere;"
            " remove the key"
        )
        return f"comments about {key} are posted on the issue or pull request of the event; {where}"
    return find_event_problem(key)
