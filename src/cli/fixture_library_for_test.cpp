int fixture_value();

int fixture_value() {
    return 7;
}
