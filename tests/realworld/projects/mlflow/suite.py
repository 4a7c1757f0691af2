from mlflow import MlflowClient


def test_an_experiment_is_stored(db_clone, tmp_path):
    client = MlflowClient(db_clone.url)

    made = client.create_experiment("squares", artifact_location=str(tmp_path))

    assert MlflowClient(db_clone.url).get_experiment(made).name == "squares"


def test_an_experiment_of_the_same_name_is_new_in_another_test(db_clone, tmp_path):
    MlflowClient(db_clone.url).create_experiment("squares", artifact_location=str(tmp_path))
