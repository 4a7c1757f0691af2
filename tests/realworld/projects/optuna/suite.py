import optuna


def best_of_three(url):
    study = optuna.create_study(study_name="squares", storage=url)
    study.optimize(lambda trial: trial.suggest_float("x", -1, 1) ** 2, n_trials=3)
    return study


def test_a_study_is_stored(db_clone):
    best_of_three(db_clone.url)

    loaded = optuna.load_study(study_name="squares", storage=db_clone.url)

    assert len(loaded.trials) == 3


def test_a_study_of_the_same_name_is_new_in_another_test(db_clone):
    study = best_of_three(db_clone.url)

    assert len(study.trials) == 3
