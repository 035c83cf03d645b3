"""Tables of rules by primitive: the rules are attributes of the primitives themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping

from nr.core.tracing import Primitive


class RuleTable(MutableMapping[Primitive, Callable]):
    """One kind of rule, by primitive.

    Args:
        attribute: where primitives keep rules of the kind.
        shown: what the table's users call instead of a rule.
        kept: the rule to keep of one that they give.
    """

    def __init__(
        self,
        attribute: str,
        shown: Callable[[Primitive, Callable], Callable] = lambda primitive, rule: rule,
        kept: Callable[[Primitive, Callable], Callable] = lambda primitive, rule: rule,
    ) -> None:
        self._attribute = attribute
        self._shown = shown
        self._kept = kept

    def __getitem__(self, primitive: Primitive) -> Callable:
        rule = getattr(primitive, self._attribute)
        if rule is None:
            raise KeyError(primitive)
        return self._shown(primitive, rule)

    def __setitem__(self, primitive: Primitive, rule: Callable) -> None:
        setattr(primitive, self._attribute, self._kept(primitive, rule))

    def __delitem__(self, primitive: Primitive) -> None:
        self[primitive]
        setattr(primitive, self._attribute, None)

    def __iter__(self) -> Iterator[Primitive]:
        for primitive in Primitive.all.values():
            if getattr(primitive, self._attribute) is not None:
                yield primitive

    def __len__(self) -> int:
        return sum(1 for _ in self)
