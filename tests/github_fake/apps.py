"""Apps and installations of the stand-in GitHub, as no page of GitHub makes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hls_sandbox.objects import Account, App
from hls_sandbox.state import State


def add_app(
    state: State,
    *,
    owner: Account,
    public_key: str,
    permissions: Mapping[str, str],
    events: tuple[str, ...] = (),
) -> App:
    """Create the App "My HLS" of an existing key, without a webhook."""
    app = App(
        id=1_000_001,
        slug="my-hls",
        name="My HLS",
        owner=owner,
        public_key=public_key,
        webhook_secret="a-secret-of-the-tests",
        webhook_url="",
        permissions=permissions,
        events=events,
    )
    state.change(lambda world: world.with_app(app).with_account(app.bot))
    return app


def change_installation(state: State, number: int, **values: object) -> None:
    """Replace attributes of an installation, such as `permissions` and `suspended_at`."""
    present = next(one for one in state.world.installations if one.id == number)
    changed = replace(present, **values)  # type: ignore[arg-type]
    state.change(lambda world: world.with_installation(changed))


def remove_installation(state: State, number: int) -> None:
    others = tuple(one for one in state.world.installations if one.id != number)
    state.change(lambda world: replace(world, installations=others))
