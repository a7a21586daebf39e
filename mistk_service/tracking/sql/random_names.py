"""Random names for runs and models without a name."""

from __future__ import annotations

import secrets

# With a number of three digits and two dashes, a name has at most 20 characters.
_ADJECTIVES = """
    agile amber ample brave bright brisk calm civil clear clever cosmic crisp daring deft eager early fair fleet
    fond frank fresh gentle glad golden grand happy hardy honest humble jolly keen kind lively loyal lucid lucky
    mellow merry mild modest neat noble placid polite proud quick quiet rapid ready robust rosy serene sharp silent
    sleek smart smooth snug solid sound stable steady sturdy subtle sunny swift tidy vivid warm wise witty zesty
""".split()
_NOUNS = """
    acorn albatross alder anchor apple aspen badger basin beacon beaver birch bison breeze brook canyon cedar cliff
    clover comet coral cove crane creek delta dolphin dune eagle ember falcon fern finch fjord forest fox garnet
    glacier grove gull harbor hare hawk hazel heron hill ibis iris island ivy jay kestrel lagoon lake larch lark
    laurel linden lotus lynx maple marsh meadow mesa moose moss oak olive orchid osprey otter owl panda pebble pine
    plover pond poplar quail quartz raven reef ridge river robin rowan sage sparrow spruce stork swan thrush tide
    tulip valley walnut willow wren yak
""".split()


def random_name() -> str:
    """Return a name such as ``calm-heron-417``."""
    return f"{secrets.choice(_ADJECTIVES)}-{secrets.choice(_NOUNS)}-{secrets.randbelow(1000):03}"
