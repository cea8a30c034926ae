func.func @first() {
  func.return
}
// -----
func.func @second() {
  func.retrn
}
// -----
func.func @third(%x: tensor<2x4xf32>) -> tensor<16xf32> {
  %y = "kernel.reshape"(%x) : (tensor<2x4xf32>) -> tensor<16xf32>
  func.return %y : tensor<16xf32>
}
// -----
func.func @last() {
  func.return
}
