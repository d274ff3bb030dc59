"""What differs between an issue of a triage run and a webhook: a budget, comments, the shadow
prompt.
"""

from __future__ import annotations

from dataclasses import replace

from hls_handler.deliveries import Lease
from hls_handler.errors import ConversationIgnored
from hls_handler.routing import Rule
from hls_handler.settings.effective import Origin
from hls_handler.storage import Storage
from hls_handler.store.triage import TriageRun, find_run_id

COMMENTS = "features.auto_commenting"


def find_run(lease: Lease, store: Storage) -> TriageRun | None:
    """Return the run of a delivery. Reads nothing for other deliveries."""
    run_id = find_run_id(lease.request_id)
    if run_id is None:
        return None
    return store.triage.find(run_id)


def require_not_undone(run: TriageRun) -> None:
    """Raise `ConversationIgnored` after a person took the run back."""
    if run.undone_at is not None:
        reason = f"triage run {run.id} was taken back before this issue was processed"
        raise ConversationIgnored(reason, "stopped")


def limit_rule(rule: Rule, run: TriageRun) -> Rule:
    """Return the rule without a shadow prompt, and without comments unless the run has them."""
    effective = rule.effective
    if not run.comments and effective.features.auto_commenting:
        features = effective.features.model_copy(update={"auto_commenting": False})
        origin = Origin((f"triage run {run.id} has no --comments",))
        origins = {**effective.origins, COMMENTS: origin}
        effective = replace(effective, features=features, origins=origins)
    return replace(rule, effective=effective, shadow=None)
