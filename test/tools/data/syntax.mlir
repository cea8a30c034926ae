func.func @f() {
  func.retrn
}
