from tests.engine.conftest import make_world

__all__ = ["make_world"]
