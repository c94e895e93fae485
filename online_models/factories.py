"""How some of River's estimators are made from the plain parameters that a model file gives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from river import compose, neighbors, tree


def regression_tree_of(make: Callable[..., Any]) -> Callable[..., Any]:
    """A regression tree that keeps few of the values it saw: the default splitter keeps nearly every one."""

    def made(radius: float, **parameters: Any) -> Any:
        return make(splitter=tree.splitter.QOSplitter(radius=radius), **parameters)

    return made


def forest_of(make: Callable[..., Any]) -> Callable[..., Any]:
    """A forest for which `max_features` may be `all`."""

    def made(max_features: str = "sqrt", **parameters: Any) -> Any:
        return make(max_features=None if max_features == "all" else max_features, **parameters)

    return made


def neighbours_of(make: Callable[..., Any]) -> Callable[..., Any]:
    """Nearest neighbours among the newest `window_size` examples."""

    def made(window_size: int, **parameters: Any) -> Any:
        return make(engine=neighbors.LazySearch(window_size=window_size), **parameters)

    return made


def choosing_of(make: Callable[..., Any], metric: Callable[[], Any]) -> Callable[..., Any]:
    """A choice among pipelines by a metric."""

    def made(models: list[list[Any]], **parameters: Any) -> Any:
        return make([compose.Pipeline(*steps) for steps in models], metric=metric(), **parameters)

    return made
