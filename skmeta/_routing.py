"""Requests for ids by metadata routing that look at the ids as they pass."""

from sklearn.utils.metadata_routing import MetadataRequest

from skmeta._checks.ids import check_routed_ids


class _SingleIds(MetadataRequest):
    """Refuses ids of several columns where they are routed.

    A search asks all its parts for requests before its splitter sees a row, and that
    would only say "object too deep for desired array".
    """

    def _route_params(self, **options):
        check_routed_ids(options["params"].get("task"), options.get("parent"))
        return super()._route_params(**options)

    def __sklearn_clone__(self):  # from scikit-learn 1.9 on, in place of deepcopy
        return asking_for_single_ids(super().__sklearn_clone__())


def asking_for_single_ids(request):
    """The same request, which also looks at the ids."""
    request.__class__ = _SingleIds
    return request
