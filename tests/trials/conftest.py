from tests.engine.conftest import make_world, shared_folder

__all__ = ["make_world", "shared_folder"]
