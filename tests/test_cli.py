def test_lists(vla_bench):
    assert "ms-hab-mini" in vla_bench("list", "suites").stdout
    assert "expert" in vla_bench("list", "policies").stdout
    tasks = vla_bench("list", "tasks", "--suite", "ms-hab").stdout
    assert "pick-apple" in tasks
    assert "line" not in tasks


def test_doctor_names_the_lack_and_the_fix(vla_bench, tmp_path):
    bare = {"MS_ASSET_DIR": str(tmp_path), "VLA_BENCH_LIBERO_ASSETS": str(tmp_path)}
    healthy = vla_bench("doctor", **bare)
    assert healthy.returncode == 0, healthy.stdout
    assert "ok  opengl: MuJoCo draws with" in healthy.stdout
    for suite in ("ms-hab", "libero", "libero-90"):
        assert f"no  {suite} files" in healthy.stdout
        assert f"vla-bench assets {suite}" in healthy.stdout
    blind = vla_bench(
        "doctor",
        VK_ICD_FILENAMES="/nonexistent.json",
        VK_DRIVER_FILES="/nonexistent.json",
        MUJOCO_GL="glfw",
        **bare,
    )
    assert blind.returncode == 1
    assert "apt-get install" in blind.stdout
    assert "no  opengl: " in blind.stdout


def test_assets_show_licences_and_fail_clearly_offline(vla_bench, tmp_path):
    offline = vla_bench(
        "assets", "ms-hab", "--yes", MS_ASSET_DIR=str(tmp_path), HF_ENDPOINT="http://127.0.0.1:9"
    )
    assert offline.returncode == 1
    assert "CC-BY-4.0" in offline.stdout
    assert "could not download ReplicaCAD from https://huggingface.co" in offline.stderr
    assert len(offline.stderr.splitlines()) == 1
    assert "needs no download" in vla_bench("assets", "ms-hab-mini").stdout


def test_assets_are_not_fetched_without_consent(vla_bench, tmp_path):
    refused = vla_bench("assets", "ms-hab", MS_ASSET_DIR=str(tmp_path))
    assert refused.returncode != 0
    assert not list(tmp_path.iterdir())


def test_report_of_nothing(vla_bench, tmp_path):
    empty = vla_bench("report")
    assert empty.returncode == 1
    assert "no run under results/runs" in empty.stderr
    missing = vla_bench("report", tmp_path / "no-run")
    assert missing.returncode == 1
    assert "is not a run folder" in missing.stderr


def test_report_of_an_unfinished_run(vla_bench, tmp_path):
    run = ("run", "--policy", "walker", "--suite", "line", "--episodes", "3", "--trials", "1")
    assert vla_bench(*run, "--out", "r").returncode == 0
    log = tmp_path / "r" / "episodes.jsonl"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:4]))
    report = vla_bench("report", "r")
    assert report.returncode == 3
    assert "1/1" in report.stdout
