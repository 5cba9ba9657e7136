"""What the store does not know of yet: per partition, bounded, never below nothing."""

from gateway.store.outage.debts import Debts
from tests.store.outage.limits import BUCKET, WINDOW


def owed(debts: Debts, most: int = 100) -> list[tuple[str, int]]:
    return [(debt.key, debt.cost) for debt in debts.take(most)]


def test_of_one_partition_it_is_one_debt_and_what_was_too_much_is_not_owed_again() -> None:
    debts = Debts()
    debts.add(WINDOW, "w", 5)
    debts.add(BUCKET, "b", 1)
    debts.add(WINDOW, "w", -8)  # more came back than is owed: the store has been told of the rest
    debts.add(WINDOW, "w", 3)
    debts.add(WINDOW, "other", -2)
    assert owed(debts) == [("w", 3), ("b", 1)]
    assert len(debts) == 0


def test_the_oldest_are_taken_first_and_forgotten_first() -> None:
    debts = Debts(most=3)
    for number in range(5):
        debts.add(WINDOW, f"w{number}", 1)
    assert len(debts) == 3
    assert owed(debts, 2) == [("w2", 1), ("w3", 1)]
    assert owed(debts) == [("w4", 1)]
