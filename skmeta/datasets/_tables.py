"""Small real tables that come with the package."""

import csv
from importlib import resources

import numpy as np
from sklearn.utils import Bunch

_FOLDER = resources.files("skmeta.datasets") / "data"


def load_gift_shop(*, return_X_y=False, as_frame=True):
    """Load the weekly orders of 60 products of a gift shop.

    An online shop in the United Kingdom, from December 2010 to November 2011. Each row
    says how many orders contained a product in a week. A task is a product. Some
    products came in during the year, so tasks have 6 to 51 rows.

    ================  ==================================================
    Tasks             60 products
    Rows              2764, by product and in order of time
    Features          ``week``, ``open_days``, ``price``
    Target            ``orders``, a count from 0 to 89
    Licence           CC0 1.0
    ================  ==================================================

    Parameters
    ----------
    return_X_y : bool, default=False
        Whether to return ``(data, target, task)`` instead of a Bunch.
    as_frame : bool, default=True
        Whether to return pandas objects. Otherwise NumPy arrays are returned, and
        pandas need not be installed.

    Returns
    -------
    table : :class:`~sklearn.utils.Bunch`
        With these attributes:

        - ``data`` : DataFrame or array of shape (2764, 3). ``week`` counts the weeks
          from 0, which begins on Monday, 2010-12-06; week 3 is missing, since the shop
          was closed. ``open_days`` is the number of days of the week on which the shop
          took orders, 4 to 6. ``price`` is the median price of one piece, in pounds
          sterling.
        - ``target`` : Series or array of shape (2764,). ``orders``, the number of
          orders of that week that contained the product.
        - ``task`` : Series or array of shape (2764,). ``product``, the name of the
          product.
        - ``frame`` : DataFrame of shape (2764, 5) of all of these, or None with
          ``as_frame=False``.
        - ``feature_names``, ``target_name``, ``task_name`` : names of the columns.
        - ``DESCR`` : str. Where the table comes from, and what was done to it.
    data, target, task : tuple
        The same three, with ``return_X_y=True``.

    References
    ----------
    D. Chen, S. L. Sain, K. Guo, "Data mining for the online retail industry: A case
    study of RFM model-based customer segmentation using data mining", Journal of
    Database Marketing and Customer Strategy Management 19 (3), 2012.

    Examples
    --------
    >>> from skmeta.datasets import load_gift_shop
    >>> table = load_gift_shop().frame
    >>> table[table["product"] == "Lunch bag red retrospot"].head(3)
                          product  week  open_days  price  orders
    1186  Lunch bag red retrospot     0          6   1.65      16
    1187  Lunch bag red retrospot     1          6   1.65      15
    1188  Lunch bag red retrospot     2          4   1.65       3
    """
    return _load(
        "gift_shop",
        features=["week", "open_days", "price"],
        target="orders",
        task="product",
        return_X_y=return_X_y,
        as_frame=as_frame,
    )


def load_gapminder(*, return_X_y=False, as_frame=True):
    """Load the life expectancy of 142 countries, every five years from 1952 to 2007.

    A task is a country. The table is in order of time, and ``year`` rises within every
    country.

    ================  ==================================================
    Tasks             142 countries of 12 rows
    Rows              1704
    Features          ``year``, ``population``, ``gdp_per_capita``
    Target            ``life_expectancy``, from 23.6 to 82.6 years
    Licence           CC0 1.0
    ================  ==================================================

    Parameters
    ----------
    return_X_y : bool, default=False
        Whether to return ``(data, target, task)`` instead of a Bunch.
    as_frame : bool, default=True
        Whether to return pandas objects. Otherwise NumPy arrays are returned, and
        pandas need not be installed.

    Returns
    -------
    table : :class:`~sklearn.utils.Bunch`
        With these attributes:

        - ``data`` : DataFrame or array of shape (1704, 3). ``population`` is the number
          of people. ``gdp_per_capita`` is the gross domestic product per person, in
          dollars, adjusted for inflation; its logarithm is the better feature of a
          linear model.
        - ``target`` : Series or array of shape (1704,). ``life_expectancy`` at birth,
          in years.
        - ``task`` : Series or array of shape (1704,). ``country``.
        - ``frame`` : DataFrame of shape (1704, 6), or None with ``as_frame=False``. It
          has one column more: ``continent``, one of five names.
        - ``feature_names``, ``target_name``, ``task_name`` : names of the columns.
        - ``DESCR`` : str. Where the table comes from, and what was done to it.
    data, target, task : tuple
        The same three, with ``return_X_y=True``.

    References
    ----------
    J. Bryan, "gapminder: Data from Gapminder", R package, doi:10.5281/zenodo.594018.

    Examples
    --------
    >>> from skmeta.datasets import load_gapminder
    >>> load_gapminder().frame.head(2)
           country continent  year  population  gdp_per_capita  life_expectancy
    0  Afghanistan      Asia  1952     8425333           779.4            28.80
    1  Afghanistan      Asia  1957     9240934           820.9            30.33
    """
    return _load(
        "gapminder",
        features=["year", "population", "gdp_per_capita"],
        target="life_expectancy",
        task="country",
        return_X_y=return_X_y,
        as_frame=as_frame,
    )


def _load(name, *, features, target, task, return_X_y, as_frame):
    columns = _columns(name)
    if as_frame:
        frame = _frame(columns, name)
        data, y, ids = frame[features], frame[target], frame[task]
    else:
        frame = None
        data = np.column_stack([columns[feature] for feature in features]).astype(float)
        y, ids = columns[target], columns[task]
    if return_X_y:
        return data, y, ids
    return Bunch(
        data=data,
        target=y,
        task=ids,
        frame=frame,
        feature_names=features,
        target_name=target,
        task_name=task,
        DESCR=(_FOLDER / f"{name}.rst").read_text(encoding="utf-8"),
    )


def _columns(name):
    """The columns of a file, each as whole numbers, else as numbers, else as text."""
    with (_FOLDER / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    return {
        column: _numbers_if_they_are(values)
        for column, values in zip(header, zip(*rows, strict=True), strict=True)
    }


def _numbers_if_they_are(values):
    for kind in (np.int64, np.float64):
        try:
            return np.array(values).astype(kind)
        except ValueError:
            continue
    return np.array(values)


def _frame(columns, name):
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError(
            f"load_{name}() returns pandas objects, and pandas is not installed. "
            "Install it, or pass as_frame=False for NumPy arrays."
        ) from error
    # A text column is made from a list, so that pandas chooses its own type of text.
    return pd.DataFrame(
        {
            key: values.tolist() if values.dtype.kind == "U" else values
            for key, values in columns.items()
        }
    )
