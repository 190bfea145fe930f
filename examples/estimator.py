"""Which p predicts best? l_p regression in a scikit-learn pipeline, compared by cross-validation.

Some targets get gross errors. The median (p = 1) hardly notices, least squares (p = 2) does, and
for larger p a few wrong values are nearly all that counts.

    pip install "implicit-accel[sklearn]" && python examples/estimator.py
"""

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from accel.sklearn import LpRegressor

X, y = load_diabetes(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
rng = np.random.default_rng(0)
wrong = rng.choice(len(y_train), 20, replace=False)
y_train[wrong] += rng.choice([-1000.0, 1000.0], 20)

search = GridSearchCV(
    make_pipeline(StandardScaler(), LpRegressor()),
    {"lpregressor__p": [1, 1.2, 1.5, 2, 4]},
    scoring="neg_median_absolute_error",
)
search.fit(X_train, y_train)
for p, score in zip(
    search.cv_results_["param_lpregressor__p"], search.cv_results_["mean_test_score"], strict=True
):
    print(f"p = {p}: median error {-score:.1f} in cross-validation")

best = search.best_estimator_[-1]
print(f"best: p = {best.p}, median error {-search.score(X_test, y_test):.1f} on clean data")
print(f"{best.n_iter_} Newton steps, proven to be within {best.dual_gap_:.1e} of the least loss")
