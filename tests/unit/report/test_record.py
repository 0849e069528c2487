def test_model_cards_escape_names(full):
    run, _, _, _ = full
    card = run.store.read_bytes("report/model_card_true_0.md").decode()
    assert "<script>" not in card
    assert "&lt;script&gt;" in card
    assert "not for clinical use" in card
