"""The long tail of driving: simulate the rare scene, drive it, score the decisions.

The names that most users need are here; ``__init__.pyi`` lists them. Each is loaded when it is first used::

    import alpamayo

    scenario = alpamayo.make_scenario("cut-in", seed=3)
    episode = alpamayo.drive(scenario, alpamayo.make_driver("tiny"))
    print(alpamayo.score_episode(episode).scores)
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
