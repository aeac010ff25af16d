from services.tuning_results import table_of


def test_table_begins_with_openais_columns() -> None:
    metrics = [
        {"step": 1, "train_loss": 1.5, "train_mean_token_accuracy": 0.25, "tokens": 10},
        {"step": 2, "train_loss": 0.5, "valid_loss": 0.75, "valid_mean_token_accuracy": 1.0, "rewards_margins": 2.0},
    ]
    assert table_of(metrics).decode() == (
        "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy,rewards_margins,tokens\n"
        "1,1.5,0.25,,,,10\n"
        "2,0.5,,0.75,1.0,2.0,\n"
    )


def test_table_of_nothing_has_its_head() -> None:
    assert table_of([]) == b"step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n"
