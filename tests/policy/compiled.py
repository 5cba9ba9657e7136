"""What comes of files that are right."""

from gateway.core.policy import PolicySet
from gateway.policy import Report


def compiled(report: Report) -> PolicySet:
    """The set of such a report."""
    assert report.errors == ()
    assert report.policies is not None
    return report.policies
