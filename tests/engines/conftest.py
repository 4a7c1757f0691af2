"""What these tests share: projects in which they run pytest."""

from ..inner import mode, new_sample, own_store, shop, store

__all__ = ["mode", "new_sample", "own_store", "shop", "store"]
