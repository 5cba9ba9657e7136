"""What workers begin with, after reloads: the supervisor keeps it for those that it forks later."""

from collections.abc import Sequence
from dataclasses import replace

from gateway.policy.changes import for_new_workers, in_force
from gateway.reload.edition import read_edition
from gateway.supervisor.worker import Post


def commit(posts: Sequence[Post], file: str) -> list[Post]:
    """The posts with the edition that a worker has left in the gateway's directory. Raises OSError.

    The edition before the last goes: no worker is so old that it has still to read it.
    """
    directory = posts[0].directory
    assert directory is not None, "a gateway with several workers has one"
    if "/" in file:
        raise ValueError("not a file of the gateway's directory")
    edition = read_edition(directory / file)
    kept = (file, posts[0].edition)
    for path in directory.glob("edition-*"):
        if path.name not in kept:
            path.unlink(missing_ok=True)
    fresh, policies = edition
    return [
        replace(post, settings=in_force(post.settings, fresh), policies=policies, fresh=fresh, edition=file)
        for post in posts
    ]


def as_successor(post: Post) -> Post:
    """What a worker begins with that replaces one in a rolling restart: also settings that need new workers."""
    return replace(post, settings=for_new_workers(post.settings, post.fresh)) if post.fresh is not None else post
