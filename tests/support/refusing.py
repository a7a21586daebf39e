"""Remotes that refuse selected items."""

from mistk_service.tracking.errors import InvalidParameter


def refuse(world, *names, error=None):
    """Let the remote refuse calls by their names."""

    def before(name):
        if name in names:
            raise error or InvalidParameter("not acceptable")

    world.remote.before = before


def refuse_items(world, culprits):
    """Let the remote refuse every batch that has an item with one of these keys."""
    accept = world.remote.store.log_batch

    def log_batch(run_id, metrics=(), params=(), tags=()):
        bad = culprits & {item.key for item in (*metrics, *params, *tags)}
        if bad:
            raise InvalidParameter(f"{min(bad)} is not acceptable")
        accept(run_id, metrics, params, tags)

    world.remote.store.log_batch = log_batch


def refusals(world):
    ledger = world.local.journal.ledger("http://remote")
    return {(refusal.what, refusal.items) for refusal in ledger.refusals()}
