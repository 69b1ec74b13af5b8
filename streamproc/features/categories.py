"""Encoders of categories and texts: what they declare, checked when written."""

from __future__ import annotations

from dataclasses import dataclass

from streamproc.errors import DefinitionError
from streamproc.features.checks import check_buckets, check_name
from streamproc.features.values import as_category

MOST_VALUES = 1_000
MOST_BUCKETS = 4_096
LONGEST_GRAM = 5
TEXT_READ = 20_000
"""How many characters of a text are read, so that the longest takes some milliseconds."""


@dataclass(frozen=True)
class OneHot:
    """A column for each of the ``values`` of a category, one for all others; one of them is 1.

    Null has none: all are 0. Text, whole numbers and booleans are categories, a code the same
    whether sent as 5411 or as "5411". The vocabulary is the one declared, so a new category makes
    no new column.

    >>> OneHot("country", values=("NL", "DE")).names
    ('country_is_NL', 'country_is_DE', 'country_is_other')
    """

    value: str
    values: tuple[str | int | bool, ...]

    def __post_init__(self) -> None:
        check_name("OneHot", self.value, "OneHot('country', values=('NL', 'DE'))")
        where = f"OneHot({self.value!r})"
        given = self.values if isinstance(self.values, tuple | list) else (self.values,)
        object.__setattr__(self, "values", tuple(given))
        if not given or len(given) > MOST_VALUES:
            raise DefinitionError(
                f"{where}: values must list 1 to {MOST_VALUES:,} categories, such as "
                "('NL', 'DE'); for more use Hashed"
            )
        texts = [as_category(each) for each in given]
        for text, each in zip(texts, given, strict=True):
            if text is None:
                raise DefinitionError(f"{where}: {each!r:.40} is no category; write text or a code")
            if texts.count(text) > 1:
                raise DefinitionError(f"{where}: {text!r:.40} is listed twice; remove one")
            if text == "other":
                raise DefinitionError(
                    f"{where}: 'other' is the column of all that is not listed; remove it"
                )

    @property
    def inputs(self) -> tuple[str, ...]:
        """The features, or else fields of the event, that this reads."""
        return (self.value,)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features this gives: of each value, then of the others."""
        return tuple(f"{self.value}_is_{as_category(each)}" for each in (*self.values, "other"))


@dataclass(frozen=True)
class Hashed:
    """Any number of categories in a fixed number of columns: the category's hash says which.

    That column is 1 or -1, by the hash too, so that categories which share a column tend to cancel
    out (feature hashing: Weinberger et al. 2009). The hash is the same in every process and on
    every machine. Null has no column: all are 0. ``FeatureSet.hashing`` tells how many distinct
    categories share one.

    >>> Hashed("merchant", buckets=2).names
    ('merchant_hash_0', 'merchant_hash_1')
    """

    value: str
    buckets: int

    def __post_init__(self) -> None:
        check_name("Hashed", self.value, "Hashed('merchant', buckets=64)")
        check_buckets(f"Hashed({self.value!r})", self.buckets, MOST_BUCKETS)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The features, or else fields of the event, that this reads."""
        return (self.value,)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features this gives, a column each."""
        return tuple(f"{self.value}_hash_{bucket}" for bucket in range(self.buckets))


@dataclass(frozen=True)
class HashedWords:
    """A bag of words in a fixed number of columns, each word counted as 1 or -1 by its hash.

    Words are runs of letters, digits and underscores, in lower case. ``ngrams`` says of how many
    words in a row a term is: ``(1, 2)`` takes words and pairs. The first 20,000 characters are
    read. Null and an empty text have no words: all columns are 0.

    >>> HashedWords("text", buckets=2, ngrams=(1, 2)).names
    ('text_words_0', 'text_words_1')
    """

    value: str
    buckets: int
    ngrams: tuple[int, ...] = (1,)

    def __post_init__(self) -> None:
        check_name("HashedWords", self.value, "HashedWords('text', buckets=256)")
        where = f"HashedWords({self.value!r})"
        check_buckets(where, self.buckets, MOST_BUCKETS)
        given = self.ngrams if isinstance(self.ngrams, tuple | list) else (self.ngrams,)
        object.__setattr__(self, "ngrams", tuple(given))
        fits = all(type(each) is int and 1 <= each <= LONGEST_GRAM for each in given)
        if not given or not fits or len(set(given)) < len(given):
            raise DefinitionError(
                f"{where}: ngrams must be different whole numbers from 1 to {LONGEST_GRAM}, "
                "such as (1, 2)"
            )

    @property
    def inputs(self) -> tuple[str, ...]:
        """The features, or else fields of the event, that this reads."""
        return (self.value,)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features this gives, a column each."""
        return tuple(f"{self.value}_words_{bucket}" for bucket in range(self.buckets))
