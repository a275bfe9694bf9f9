"""Requests for ids by metadata routing that check the ids as they are routed."""

from sklearn.utils.metadata_routing import MetadataRequest

from skmeta._checks.ids import check_routed_ids


class _SingleIds(MetadataRequest):
    """Refuses ids of several columns when they are routed.

    A search collects the requests of its parts before its splitter sees a row. The
    splitter would only say "object too deep for desired array".
    """

    def _route_params(self, **options):
        check_routed_ids(options["params"].get("task"), options.get("parent"))
        return super()._route_params(**options)

    def __sklearn_clone__(self):  # scikit-learn 1.9 and later use this, not deepcopy
        return asking_for_single_ids(super().__sklearn_clone__())


def asking_for_single_ids(request):
    """The same request, which also checks the ids."""
    request.__class__ = _SingleIds
    return request
