def test_run(shop, distiller, tmp_path):
    import time

    for a in (
        ["run", shop.file(tmp_path)],
        ["show", tmp_path / "out"],
        ["check", tmp_path / "run.yaml"],
        ["evaluate", tmp_path / "out"],
        ["predict", tmp_path / "out", shop.dev],
    ):
        t = time.time()
        r = distiller(*a)
        print(r.code, time.time() - t)
        print(r.out[:1500])
        print("ERR", r.err)
    assert 0
